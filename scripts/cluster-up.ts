import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import {
  type CanaryTarget,
  canaryValues,
  countRequests,
  describeShares,
  requestsBetween,
  type ServiceRequests,
  takeCanaryOption,
} from './lib/canary.ts';
import { buildAndDeliver, forwardPort, requireCommands, runVisibly } from './lib/cluster.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { imageValues } from './lib/images.ts';

/** Maximum milliseconds from the installation to the first successful response of the gateway. */
const readyTimeoutMs = 30_000;

/** Milliseconds between two lines about the requests of a canary. */
const shareIntervalMs = 5000;

const release = 'zerda';

/**
 * `npm run cluster:up -- [--once] [--canary <service>[=<tag>]] [options of helm upgrade]`: builds the images, loads them into the cluster
 * of the current context, installs the chart with values-dev.yaml, and forwards a local port to the gateway until you press Ctrl-C. With
 * `--once` it ends after the first successful response. With `--canary` it adds a pod of the service from the current code, or of an
 * image in the same repository, to the installed release, and prints how many requests each version receives.
 * ZERDA_NAMESPACE sets the namespace, ZERDA_GATEWAY_PORT the local port, REGISTRY the registry for the images.
 */
await runCommand(async () => {
  const { target, rest: args } = takeCanaryOption(process.argv.slice(2));
  const endsWhenReady = args.includes('--once');
  const namespace = process.env.ZERDA_NAMESPACE || 'zerda';
  const port = Number(process.env.ZERDA_GATEWAY_PORT || 8000);
  await requireCommands('kubectl', 'helm');
  const values = await (target === undefined ? buildRelease() : buildCanary(target));
  await runVisibly([
    ...(['helm', 'upgrade', release, 'charts/zerda', '--namespace', namespace, ...values] as const),
    ...['--wait', '--timeout', '5m', ...args.filter((word) => word !== '--once')],
  ]);

  const forward = await forwardPort(namespace, `${release}-gateway`, { local: port, remote: 8000 });
  try {
    await waitUntilReady(`${forward.url}/api/health`);
    console.log(`\nzerda is ready: curl ${forward.url.replace('127.0.0.1', 'localhost')}/api/dashboard`);
    if (endsWhenReady) return 0;
    console.log(
      `Press Ctrl-C to stop port forwarding. To uninstall: helm uninstall zerda --namespace ${namespace}`,
    );
    if (target !== undefined) {
      const end = `--namespace ${namespace} --reuse-values --set ${target.service}.canary.replicas=0,${target.service}.canary.weight=0`;
      console.log(`To end the canary: helm upgrade ${release} charts/zerda ${end}`);
      if (target.service === 'gateway')
        console.log(
          'The forwarded port belongs to one pod: send requests through the Ingress or the HTTPRoute.',
        );
    }
    const stopped = new AbortController();
    onStopSignal(() => stopped.abort());
    const shown = target === undefined ? undefined : printShares(namespace, target, stopped.signal);
    await Promise.race([forward.ended, once(stopped.signal, 'abort')]);
    stopped.abort();
    await shown;
    return 0;
  } finally {
    await forward.stop();
  }
});

/** Builds the images. Returns the options of `helm upgrade` that install them. */
async function buildRelease(): Promise<string[]> {
  const images = await buildAndDeliver(process.env);
  return [
    '--install',
    '--create-namespace',
    '--values',
    'charts/zerda/values-dev.yaml',
    ...imageValues(images),
  ];
}

/** Builds the image of a canary unless its tag is given. Returns the options of `helm upgrade` that add it to the release. */
async function buildCanary({ service, tag }: CanaryTarget): Promise<string[]> {
  return canaryValues(
    service,
    tag ?? (await buildAndDeliver(process.env, { names: [service] })).get(service)?.tag ?? '',
  );
}

/** Prints how many requests each version has received, until the signal is aborted. */
async function printShares(namespace: string, { service }: CanaryTarget, signal: AbortSignal): Promise<void> {
  let before: ServiceRequests | undefined;
  while (!signal.aborted) {
    // A pod can end while it is read, and Ctrl-C ends kubectl, too.
    const now = await countRequests(namespace, release, service).catch((error: Error) => {
      if (!signal.aborted) console.error(error.message);
      return undefined;
    });
    const line = before && now && describeShares(service, requestsBetween(before, now));
    if (line !== undefined) console.log(line);
    // A pod that was briefly not ready continues its count.
    before = new Map([...(before ?? []), ...(now ?? [])]);
    await wait(shareIntervalMs, undefined, { signal }).catch(() => undefined);
  }
}

async function waitUntilReady(url: string): Promise<void> {
  const giveUpAt = performance.now() + readyTimeoutMs;
  for (;;) {
    const status = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
      (response) => response.status,
      (error: Error) => error.message,
    );
    if (status === 200) return;
    if (performance.now() > giveUpAt) throw new StartupError(`${url} did not return 200 in time: ${status}`);
    await wait(250);
  }
}
