import type { Deployment } from './deployments.ts';
import type { Command } from './images.ts';
import type { ServiceName } from './services.ts';

export interface DeployOptions {
  /** Path of Helm. */
  readonly helm: string;
  readonly namespace: string;
  /** Names of all services of the chart. */
  readonly services: readonly ServiceName[];
  /** Files with further values of the environment. */
  readonly valueFiles: readonly string[];
  /** Further options of `helm upgrade`. */
  readonly args: readonly string[];
}

/** Returns the values of the chart for the versions of an environment. A service that is not deployed there is disabled. */
export function deploymentValues(deployment: Deployment, services: readonly ServiceName[]): string[] {
  return services.flatMap((name) => {
    const deployed = deployment.get(name);
    if (deployed === undefined) return ['--set', `${name}.enabled=false`];
    const { version, digest = '' } = deployed;
    return ['--set-string', `${name}.image.tag=${version},${name}.image.digest=${digest}`];
  });
}

/**
 * Returns the command that upgrades the release to the versions of an environment. Helm rejects it while another upgrade of the release
 * runs, so deployments of an environment run one at a time.
 */
export function deployCommand(
  deployment: Deployment,
  { helm, namespace, services, valueFiles, args }: DeployOptions,
): Command {
  return [
    ...([helm, 'upgrade', '--install', 'zerda', 'charts/zerda'] as const),
    ...['--namespace', namespace, '--create-namespace'],
    ...valueFiles.flatMap((file) => ['--values', file]),
    ...deploymentValues(deployment, services),
    ...['--wait', '--timeout', '10m', ...args],
  ];
}
