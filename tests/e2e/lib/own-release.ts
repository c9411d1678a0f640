import { runQuietly } from '../../../scripts/lib/cluster.ts';
import { kubectl } from './kubectl.ts';

/** A release of a test's own, in a namespace of its own. */
export interface OwnRelease {
  readonly namespace: string;
  readonly release: string;
  /** `helm upgrade` to the chart of this repository, by default with the values that are there. */
  upgrade(options: readonly string[]): Promise<void>;
  /** Ends all of it at once. */
  remove(): Promise<void>;
}

export interface OwnReleaseOptions {
  readonly namespace: string;
  readonly release: string;
  /** Options of Helm. */
  readonly options: readonly string[];
  /** Folder or archive; the chart of this repository by default. */
  readonly chart?: string;
}

const chartFolder = 'charts/zerda';

/** Installs a chart into a new namespace that enforces PodSecurity's `restricted`, and waits until it is ready. */
export async function installRelease({
  namespace,
  release,
  options,
  chart = chartFolder,
}: OwnReleaseOptions): Promise<OwnRelease> {
  const waiting = ['--namespace', namespace, '--wait', '--timeout', '5m'];
  const own: OwnRelease = {
    ...{ namespace, release },
    async upgrade(changes) {
      await runQuietly(['helm', 'upgrade', release, chartFolder, ...waiting, ...changes]);
    },
    remove: () => removeAtOnce(namespace),
  };
  await removeNamespaces(namespace);
  try {
    await createNamespace(namespace);
    await runQuietly(['helm', 'install', release, chart, ...waiting, ...options]);
  } catch (error) {
    await own.remove();
    throw error;
  }
  return own;
}

/** Ends all that is in a namespace, and waits until it is gone. */
export async function removeAtOnce(namespace: string): Promise<void> {
  await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
  // Nobody is served any more: pods need not wait for callers to leave, and none comes back in a namespace that ends.
  await kubectl(['delete', 'pods', '--all', '--namespace', namespace, '--grace-period=1', '--wait=false']);
  await removeNamespaces(namespace);
}

/** Makes a namespace that enforces PodSecurity's `restricted`. */
export async function createNamespace(name: string): Promise<void> {
  await kubectl(['create', 'namespace', name]);
  const modes = ['enforce', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`);
  await kubectl(['label', 'namespace', name, ...modes]);
}

/** Removes namespaces, and waits until they have gone. */
export async function removeNamespaces(...names: readonly string[]): Promise<void> {
  await kubectl(['delete', 'namespace', ...names, '--ignore-not-found', '--timeout=180s']);
}
