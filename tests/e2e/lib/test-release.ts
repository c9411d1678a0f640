import { captureOutput } from '../../../scripts/lib/child-process.ts';
import { kubectl } from './kubectl.ts';

/** A release that a test installs in its own namespace. */
export interface TestRelease {
  readonly namespace: string;
  readonly release: string;
  /** Runs `helm upgrade` with the chart of this repository and waits until it is ready. */
  upgrade(options: readonly string[]): Promise<void>;
  /** Deletes the namespace without draining the pods. */
  remove(): Promise<void>;
}

export interface TestReleaseOptions {
  readonly namespace: string;
  readonly release: string;
  /** Options of `helm install`. */
  readonly options: readonly string[];
  /** Folder or archive; default: the chart of this repository. */
  readonly chart?: string;
  /** PodSecurity level of the namespace; default `restricted`. */
  readonly podSecurity?: PodSecurity;
}

/** PodSecurity level that a namespace enforces. */
export type PodSecurity = 'restricted' | 'privileged';

const chartFolder = 'charts/zerda';

/** Installs a chart in a new namespace and waits until it is ready. */
export async function installRelease({
  namespace,
  release,
  options,
  chart = chartFolder,
  podSecurity,
}: TestReleaseOptions): Promise<TestRelease> {
  const waitOptions = ['--namespace', namespace, '--wait', '--timeout', '5m'];
  const testRelease: TestRelease = {
    namespace,
    release,
    async upgrade(changes) {
      await captureOutput(['helm', 'upgrade', release, chartFolder, ...waitOptions, ...changes]);
    },
    remove: () => forceDeleteNamespace(namespace),
  };
  await deleteNamespaces(namespace);
  try {
    await createNamespace(namespace, podSecurity);
    await captureOutput(['helm', 'install', release, chart, ...waitOptions, ...options]);
  } catch (error) {
    await testRelease.remove();
    throw error;
  }
  return testRelease;
}

/** Deletes a namespace without draining its pods, and waits until it is deleted. */
export async function forceDeleteNamespace(namespace: string): Promise<void> {
  await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
  // The pods serve no client, so they need not drain. A terminating namespace does not recreate them.
  await kubectl(['delete', 'pods', '--all', '--namespace', namespace, '--grace-period=1', '--wait=false']);
  await deleteNamespaces(namespace);
}

/** Creates a namespace that enforces a PodSecurity level. */
export async function createNamespace(name: string, level: PodSecurity = 'restricted'): Promise<void> {
  await kubectl(['create', 'namespace', name]);
  const modes = ['enforce', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}=${level}`);
  await kubectl(['label', 'namespace', name, ...modes]);
}

/** Deletes namespaces, and waits until they are deleted. */
export async function deleteNamespaces(...names: readonly string[]): Promise<void> {
  await kubectl(['delete', 'namespace', ...names, '--ignore-not-found', '--timeout=180s']);
}
