import { setTimeout as wait } from 'node:timers/promises';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { buildAndDeliver, forwardPort, requireCommands, runVisibly } from './lib/cluster.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { imageValues } from './lib/images.ts';

/** Maximum milliseconds from the installation to the first successful response of the gateway. */
const readyTimeoutMs = 30_000;

/**
 * `npm run cluster:up -- [--once] [options of helm upgrade]`: builds the images, loads them into the cluster of the current
 * context, installs the chart with values-dev.yaml, and forwards a local port to the gateway until you press Ctrl-C. With
 * `--once` it ends after the first successful response.
 * ZERDA_NAMESPACE sets the namespace, ZERDA_GATEWAY_PORT the local port, REGISTRY the registry for the images.
 */
await runCommand(async () => {
  const args = process.argv.slice(2);
  const once = args.includes('--once');
  const namespace = process.env.ZERDA_NAMESPACE || 'zerda';
  const port = Number(process.env.ZERDA_GATEWAY_PORT || 8000);
  await requireCommands('kubectl', 'helm');
  const images = await buildAndDeliver(process.env);
  await runVisibly([
    ...(['helm', 'upgrade', '--install', 'zerda', 'charts/zerda'] as const),
    ...['--namespace', namespace, '--create-namespace'],
    ...['--values', 'charts/zerda/values-dev.yaml', ...imageValues(images)],
    ...['--wait', '--timeout', '5m', ...args.filter((word) => word !== '--once')],
  ]);

  const forward = await forwardPort(namespace, 'zerda-gateway', { local: port, remote: 8000 });
  try {
    await waitUntilReady(`${forward.url}/api/health`);
    console.log(`\nzerda is ready: curl ${forward.url.replace('127.0.0.1', 'localhost')}/api/dashboard`);
    if (once) return 0;
    console.log(
      `Press Ctrl-C to stop port forwarding. To uninstall: helm uninstall zerda --namespace ${namespace}`,
    );
    await Promise.race([forward.ended, new Promise<void>((resolve) => onStopSignal(resolve))]);
    return 0;
  } finally {
    await forward.stop();
  }
});

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
