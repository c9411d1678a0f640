import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { deploymentFile, setDeployedService } from './lib/deployment-edits.ts';
import { root, selectServices } from './lib/services.ts';

/**
 * `npm run deploy:set -- <environment> <service> <version> [digest]`: writes a version of a service to `deploy/<environment>.yaml`.
 * Nothing is deployed until `npm run deploy` runs.
 */
await runCommand(async () => {
  const [environment, service, version, digest, ...rest] = process.argv.slice(2);
  if (environment === undefined || service === undefined || version === undefined || rest.length > 0)
    throw new StartupError('Use npm run deploy:set -- <environment> <service> <version> [digest]', 78);
  selectServices([service]);
  const deployed = { version, ...(digest && { digest }) };
  await setDeployedService(environment, service, deployed, selectServices([]), root);
  console.log(`${deploymentFile(environment)}: ${service} ${version}${digest ? ` ${digest}` : ''}`);
  return 0;
});
