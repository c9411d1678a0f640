import assert from 'node:assert/strict';
import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { isReady, podSelector } from '../../../scripts/lib/pods.ts';
import { services } from '../../../scripts/lib/services.ts';
import { get, kubectl, type Manifest } from './kubectl.ts';

/** Returns the names of the pods of one service of a release, or of all services, except terminating pods. */
export async function podsOf(namespace: string, release: string, service?: string): Promise<string[]> {
  const { items } = await get(namespace, 'pods', '--selector', podSelector(release, service));
  return items
    .filter(({ metadata }: Manifest) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }: Manifest) => metadata.name);
}

/** Waits until pods are drained and deleted. */
export async function waitUntilDeleted(namespace: string, pods: readonly string[]): Promise<void> {
  if (pods.length === 0) return;
  await kubectl([
    ...['wait', '--namespace', namespace, '--for=delete', '--timeout=180s'],
    ...pods.map((pod) => `pod/${pod}`),
  ]);
}

/** Waits until a Deployment has all its pods ready, not counting the pod `without`. */
export async function waitUntilReady(namespace: string, deployment: string, without?: string): Promise<void> {
  await eventually(
    async () => {
      const { spec } = await get(namespace, 'deployment', deployment);
      const selector = Object.entries(spec.selector.matchLabels).map((pair) => pair.join('='));
      const { items } = await get(namespace, 'pods', '--selector', selector.join(','));
      const ready = items.filter((pod: Manifest) => pod.metadata.name !== without && isReady(pod));
      assert.ok(ready.length >= spec.replicas, `${ready.length} of ${spec.replicas} pods are ready`);
    },
    `the pods of ${deployment}`,
    180_000,
  );
}

/** Waits until the Deployments of all services of the release `zerda` are rolled out. @throws Error after five minutes */
export async function waitForRollouts(namespace: string): Promise<void> {
  for (const { name } of services)
    await kubectl([
      'rollout',
      'status',
      `deployment/zerda-${name}`,
      '--namespace',
      namespace,
      '--timeout=300s',
    ]);
}
