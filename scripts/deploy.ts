import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { deploy } from './lib/deploy.ts';

/**
 * `npm run deploy -- <environment> [options of helm upgrade]`: upgrades the release on the cluster of kubectl's current context to the
 * versions in `deploy/<environment>.yaml`.
 */
await runCommand(async () => {
  const [environment, ...args] = process.argv.slice(2);
  if (environment === undefined || environment.startsWith('-'))
    throw new StartupError('Use npm run deploy -- <environment> [options of helm upgrade]', 78);
  return deploy(environment, args);
});
