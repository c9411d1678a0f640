import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { captureOutput } from './child-process.ts';
import { isReady, type Pod, podSelector } from './pods.ts';
import { type ServiceName, services } from './services.ts';

/** Label of a service's pods; its value is the `Track` of the pod. */
const trackLabel = 'zerda.dev/track';

/** Version of a service that a pod runs: the installed one, or the canary. */
export type Track = 'stable' | 'canary';

/** Requests that a pod has received since it started. */
interface PodRequests {
  readonly track: string | undefined;
  readonly requests: number;
}

/** The ready pods of a service, by name. */
export type ServiceRequests = ReadonlyMap<string, PodRequests>;

/** The ready pods of a version, and the requests that they have received in a period. */
export interface TrackRequests {
  readonly pods: number;
  readonly requests: number;
}

/** A service, and the tag of its other version; without one, the current code is built. */
export interface CanaryTarget {
  readonly service: ServiceName;
  readonly tag: string | undefined;
}

/**
 * Parses `--canary <service>[=<tag>]` and removes it from the arguments.
 * @throws StartupError (78) if the service is missing or unknown
 */
export function takeCanaryOption(args: readonly string[]): {
  readonly target: CanaryTarget | undefined;
  readonly rest: readonly string[];
} {
  const index = args.findIndex((word) => word === '--canary' || word.startsWith('--canary='));
  if (index === -1) return { target: undefined, rest: args };
  const hasOwnValue = args[index] === '--canary';
  const value = hasOwnValue ? args[index + 1] : args[index]?.slice('--canary='.length);
  const [service = '', tag] = (value ?? '').split('=', 2);
  const names = services.map(({ name }) => name);
  if (!names.includes(service)) {
    throw new StartupError(
      `--canary needs a service, or a service and a tag, such as order-service=1.2.0. The services are ${names.join(', ')}.`,
      78,
    );
  }
  return { target: { service, tag: tag || undefined }, rest: args.toSpliced(index, hasOwnValue ? 2 : 1) };
}

/** Returns the options of `helm upgrade` that add a pod of another version to a release and change nothing else. */
export function canaryValues(service: ServiceName, tag: string): string[] {
  return [
    ...['--reuse-values', '--set', `${service}.canary.replicas=1`],
    ...['--set-string', `${service}.canary.tag=${tag},${service}.canary.digest=`],
  ];
}

/** Prints the number of requests. Runs in a pod, whose management port the network policies close to others. */
function countingProgram(port: number): string {
  return `fetch('http://127.0.0.1:${port}/metrics').then((response) => response.text()).then((text) => {
    let sum = 0;
    for (const [, count] of text.matchAll(/^http_server_request_duration_seconds_count\\{.*\\} (\\S+)$/gm)) sum += Number(count);
    console.log(sum);
  })`;
}

/** Returns the requests of the ready pods of a service. */
export async function countRequests(
  namespace: string,
  release: string,
  service: ServiceName,
): Promise<ServiceRequests> {
  const { items } = JSON.parse(
    await captureOutput([
      ...(['kubectl', 'get', 'pods', '--namespace', namespace] as const),
      ...['--selector', podSelector(release, service), '--output', 'json'],
    ]),
  ) as { items: readonly Pod[] };
  const counts = await Promise.all(
    items.filter(isReady).map(async ({ metadata, spec }): Promise<[string, PodRequests]> => {
      const ports = spec.containers.flatMap((container) => container.ports ?? []);
      const port = ports.find(({ name }) => name === 'management')?.containerPort ?? 0;
      const output = await captureOutput([
        ...(['kubectl', 'exec', metadata.name, '--namespace', namespace] as const),
        ...['--container', service, '--'],
        ...['/nodejs/bin/node', '--eval', countingProgram(port)],
      ]);
      return [metadata.name, { track: metadata.labels[trackLabel], requests: Number(output) }];
    }),
  );
  return new Map(counts);
}

/** Returns the requests of each version between two counts, of the pods that are still ready. */
export function requestsBetween(
  before: ServiceRequests,
  now: ServiceRequests,
): Readonly<Record<Track, TrackRequests>> {
  // A container that restarted counts from zero.
  const since = (name: string, requests: number): number => {
    const earlier = before.get(name)?.requests ?? 0;
    return requests >= earlier ? requests - earlier : requests;
  };
  const sumOf = (track: Track): TrackRequests => {
    const ofTrack = [...now].filter(([, pod]) => pod.track === track);
    const requests = ofTrack.map(([name, pod]) => since(name, pod.requests));
    return { pods: ofTrack.length, requests: requests.reduce((sum, count) => sum + count, 0) };
  };
  return { stable: sumOf('stable'), canary: sumOf('canary') };
}

/** Describes the requests of both versions; undefined if there were none. */
export function describeShares(
  service: ServiceName,
  { stable, canary }: Readonly<Record<Track, TrackRequests>>,
): string | undefined {
  const total = stable.requests + canary.requests;
  if (total === 0) return undefined;
  const percent = ((100 * canary.requests) / total).toFixed(1);
  return `${service}: ${numberOf(stable.requests, 'request')} at ${numberOf(stable.pods, 'pod')}, ${canary.requests} at ${numberOf(canary.pods, 'pod')} of the canary (${percent} %)`;
}

function numberOf(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
