import { captureOutput } from '../../../scripts/lib/child-process.ts';

/** A Kubernetes object, as the API server returns it. */
// The tests check the shape of these objects, so they have no type.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Manifest = any;

/** Runs kubectl with `input` as its standard input. @throws StartupError with its error output when it fails */
export function kubectl(args: readonly string[], input?: string): Promise<string> {
  return captureOutput(['kubectl', ...args], { input });
}

/** Returns the JSON output of `kubectl get`. */
export async function get(namespace: string, ...args: readonly string[]): Promise<Manifest> {
  return JSON.parse(await kubectl(['get', '--namespace', namespace, '--output', 'json', ...args]));
}

export async function apply(...manifests: readonly Manifest[]): Promise<void> {
  await kubectl(
    ['apply', '--filename', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }),
  );
}

/** Runs a pod until it ends, returns its logs and deletes it. @throws Error with its logs when it fails */
export async function runPod(pod: Manifest): Promise<string> {
  const { name, namespace } = pod.metadata;
  const inNamespace = ['--namespace', namespace];
  await kubectl(['create', '--filename', '-'], JSON.stringify(pod));
  try {
    await kubectl([
      ...['wait', `pod/${name}`, ...inNamespace, '--timeout=60s'],
      // Terminated, successfully or not.
      '--for=jsonpath={.status.containerStatuses[0].state.terminated.reason}',
    ]);
    const { status } = await get(namespace, 'pod', name);
    const output = await kubectl(['logs', name, ...inNamespace]);
    if (status.phase === 'Failed') throw new Error(`pod ${name} failed: ${output}`);
    return output;
  } finally {
    await kubectl([
      'delete',
      'pod',
      name,
      ...inNamespace,
      '--grace-period=0',
      '--force',
      '--ignore-not-found',
    ]);
  }
}
