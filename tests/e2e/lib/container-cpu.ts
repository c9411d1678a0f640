import assert from 'node:assert/strict';
import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { kubectl, type Manifest } from './kubectl.ts';

/** CPU time of a container at a point in time. */
interface Sample {
  readonly microseconds: number;
  /** Time of the measurement in milliseconds since the epoch: the kubelet measures every few seconds. */
  readonly at: number;
}

/** CPU time of the containers of a namespace, by pod and container. */
export type CpuSamples = ReadonlyMap<string, Sample>;

/**
 * Reads the CPU time of all containers of a namespace from the Summary API of the kubelets. Waits for measurements since a time.
 * @param since milliseconds since the epoch
 */
export async function sampleCpu(namespace: string, since: number): Promise<CpuSamples> {
  const names = await kubectl(['get', 'nodes', '--output', 'jsonpath={.items[*].metadata.name}']);
  return eventually(
    async () => {
      const samples = new Map<string, Sample>();
      for (const node of names.trim().split(' '))
        for (const [key, sample] of await readSamples(node, namespace)) samples.set(key, sample);
      for (const [key, { at }] of samples)
        assert.ok(at >= since, `${key} was measured ${since - at} ms before`);
      return samples;
    },
    'CPU times of all containers',
    60_000,
  );
}

async function readSamples(node: string, namespace: string): Promise<[string, Sample][]> {
  const { pods } = JSON.parse(await kubectl(['get', '--raw', `/api/v1/nodes/${node}/proxy/stats/summary`]));
  return pods
    .filter(({ podRef }: Manifest) => podRef.namespace === namespace)
    .flatMap(({ podRef, containers = [] }: Manifest) =>
      containers
        .filter(({ cpu }: Manifest) => cpu?.usageCoreNanoSeconds !== undefined)
        .map(({ name, cpu }: Manifest): [string, Sample] => [
          `${podRef.name}/${name}`,
          { microseconds: cpu.usageCoreNanoSeconds / 1000, at: Date.parse(cpu.time) },
        ]),
    );
}

/**
 * Returns the CPU microseconds per second between two samples, of the containers that a predicate selects by name.
 * @throws AssertionError if one of them was not measured again
 */
export function cpuRate(before: CpuSamples, now: CpuSamples, select: (container: string) => boolean): number {
  let sum = 0;
  for (const [key, earlier] of before) {
    if (!select(key.split('/')[1] ?? '')) continue;
    const later = now.get(key);
    assert.ok(later !== undefined && later.at > earlier.at, `${key} was not measured again`);
    sum += ((later.microseconds - earlier.microseconds) * 1000) / (later.at - earlier.at);
  }
  return sum;
}
