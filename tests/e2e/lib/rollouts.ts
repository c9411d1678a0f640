import { setTimeout as wait } from 'node:timers/promises';
import { get, kubectl, type Manifest } from './kubectl.ts';

/** Names of the pods of one service of a release, or of all; those that are about to end are left out. */
export async function podsOf(namespace: string, release: string, service?: string): Promise<string[]> {
  const labels = [
    `app.kubernetes.io/instance=${release}`,
    'app.kubernetes.io/component=service',
    ...(service === undefined ? [] : [`app.kubernetes.io/name=${service}`]),
  ];
  const { items } = await get(namespace, 'pods', '--selector', labels.join(','));
  return items
    .filter(({ metadata }: Manifest) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }: Manifest) => metadata.name);
}

/** Waits until pods have served to their end and are gone. */
export async function gone(namespace: string, pods: readonly string[]): Promise<void> {
  if (pods.length === 0) return;
  await kubectl([
    ...['wait', '--namespace', namespace, '--for=delete', '--timeout=180s'],
    ...pods.map((pod) => `pod/${pod}`),
  ]);
}

/** Waits until a Deployment has as many ready pods as it wants, none of which is `without`. */
export async function complete(namespace: string, deployment: string, without?: string): Promise<void> {
  const giveUpAt = performance.now() + 180_000;
  for (;;) {
    const { spec, metadata } = await get(namespace, 'deployment', deployment);
    const selector = Object.entries(spec.selector.matchLabels).map((pair) => pair.join('='));
    const { items } = await get(namespace, 'pods', '--selector', selector.join(','));
    const ready = items.filter(
      (pod: Manifest) =>
        pod.metadata.deletionTimestamp === undefined && pod.metadata.name !== without && isReady(pod),
    );
    if (ready.length >= spec.replicas) return;
    if (performance.now() > giveUpAt)
      throw new Error(`${metadata.name}: ${ready.length} of ${spec.replicas} pods are ready`);
    await wait(1000);
  }
}

/** Whether Kubernetes sends requests to a pod. */
function isReady({ status }: Manifest): boolean {
  return (
    status.conditions?.some(({ type, status: is }: Manifest) => type === 'Ready' && is === 'True') ?? false
  );
}
