import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { captureOutput } from './child-process.ts';
import { type ServiceName, services } from './services.ts';

/** Label of pods that tells the versions of a service apart. */
const trackLabel = 'zerda.dev/track';

export type Track = 'stable' | 'canary';

/** The pods of a version that are ready, and the requests that they have received since they started. */
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
  const index = args.indexOf('--canary');
  if (index === -1) return { target: undefined, rest: args };
  const [service = '', tag] = (args[index + 1] ?? '').split('=', 2);
  const names = services.map(({ name }) => name);
  if (!names.includes(service)) {
    throw new StartupError(
      `--canary needs a service, or a service and a tag, such as order-service=1.2.0. The services are ${names.join(', ')}.`,
      78,
    );
  }
  return { target: { service, tag: tag || undefined }, rest: args.toSpliced(index, 2) };
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

/** Returns the requests of both versions of a service. */
export async function countRequests(
  namespace: string,
  release: string,
  service: ServiceName,
): Promise<Readonly<Record<Track, TrackRequests>>> {
  const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/name=${service},app.kubernetes.io/component=service`;
  const { items } = JSON.parse(
    await captureOutput([
      ...(['kubectl', 'get', 'pods', '--namespace', namespace] as const),
      ...['--selector', selector, '--output', 'json'],
    ]),
  ) as { items: readonly Pod[] };
  const counts = await Promise.all(
    items.filter(isReady).map(async ({ metadata, spec }) => {
      const ports = spec.containers.flatMap((container) => container.ports ?? []);
      const port = ports.find(({ name }) => name === 'management')?.containerPort ?? 0;
      const output = await captureOutput([
        ...(['kubectl', 'exec', metadata.name, '--namespace', namespace] as const),
        ...['--container', service, '--'],
        ...['/nodejs/bin/node', '--eval', countingProgram(port)],
      ]);
      return { track: metadata.labels[trackLabel], requests: Number(output) };
    }),
  );
  const sumOf = (track: Track): TrackRequests => {
    const ofTrack = counts.filter((count) => count.track === track);
    return { pods: ofTrack.length, requests: ofTrack.reduce((sum, { requests }) => sum + requests, 0) };
  };
  return { stable: sumOf('stable'), canary: sumOf('canary') };
}

interface Pod {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly {
      readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
    }[];
  };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

function isReady({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;
}

/** Describes the requests between two counts; undefined if there were none. */
export function describeShares(
  service: ServiceName,
  before: Readonly<Record<Track, TrackRequests>>,
  now: Readonly<Record<Track, TrackRequests>>,
): string | undefined {
  // A pod that was replaced meanwhile starts from zero.
  const difference = (track: Track): number => Math.max(0, now[track].requests - before[track].requests);
  const [stable, canary] = [difference('stable'), difference('canary')];
  if (stable + canary === 0) return undefined;
  const percent = ((100 * canary) / (stable + canary)).toFixed(1);
  return `${service}: ${numberOf(stable, 'request')} at ${numberOf(now.stable.pods, 'pod')}, ${canary} at ${numberOf(now.canary.pods, 'pod')} of the canary (${percent} %)`;
}

function numberOf(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
