import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { findHelm } from './chart.ts';
import { runInForeground } from './child-process.ts';
import { deployCommand } from './deploy-command.ts';
import { readDeployment } from './deployments.ts';
import { root, selectServices } from './services.ts';

/**
 * Upgrades the release on the cluster of kubectl's current context to the versions of an environment, and prints the command.
 * `deploy/values/<environment>.yaml` has further values, if it exists. ZERDA_NAMESPACE sets the namespace.
 * @param args options of `helm upgrade`
 * @throws StartupError (78) if Helm is missing or the environment is invalid
 */
export async function deploy(environment: string, args: readonly string[]): Promise<number> {
  const services = selectServices([]);
  const deployment = await readDeployment(environment, services);
  const helm = await findHelm();
  if (helm === undefined)
    throw new StartupError('helm is required but not on the PATH. Install it and try again.', 78);
  const valueFiles = [`deploy/values/${environment}.yaml`].filter((file) => existsSync(join(root, file)));
  const namespace = process.env.ZERDA_NAMESPACE || 'zerda';
  const command = deployCommand(deployment, { helm, namespace, services, valueFiles, args });
  console.log(command.join(' '));
  return runInForeground(command);
}
