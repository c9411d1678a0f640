import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { deploy } from './lib/deploy.ts';
import { deploymentFile, findPreviousVersion, setDeployedService } from './lib/deployment-edits.ts';
import { root, selectServices } from './lib/services.ts';

/**
 * `npm run rollback -- <environment> <service> [options of helm upgrade]`: writes the version that was deployed before to
 * `deploy/<environment>.yaml`, and deploys it.
 */
await runCommand(async () => {
  const [environment, service, ...args] = process.argv.slice(2);
  if (environment === undefined || service === undefined)
    throw new StartupError('Use npm run rollback -- <environment> <service> [options of helm upgrade]', 78);
  selectServices([service]);
  const known = selectServices([]);
  const previous = await findPreviousVersion(environment, service, known, root);
  await setDeployedService(environment, service, previous, known, root);
  console.log(`${service} ${previous.version}. Commit ${deploymentFile(environment)} after the deployment.`);
  return deploy(environment, args);
});
