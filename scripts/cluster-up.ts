import { setTimeout as wait } from 'node:timers/promises';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { buildAndDeliver, forwardPort, requireCommands, runLoudly } from './lib/cluster.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { imageValues } from './lib/images.ts';

/** Milliseconds after the installation within which the gateway must answer. */
const answerWithinMs = 30_000;

/**
 * `npm run cluster:up -- [--once] [options of helm upgrade]`: builds the images, brings them into the cluster of the current
 * context, installs the chart with values-dev.yaml, and forwards a port to the gateway until it is stopped; with `--once`
 * until it has answered. ZERDA_NAMESPACE and ZERDA_GATEWAY_PORT say where, REGISTRY how images get there.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const once = words.includes('--once');
  const namespace = process.env.ZERDA_NAMESPACE || 'zerda';
  const port = Number(process.env.ZERDA_GATEWAY_PORT || 8000);
  await requireCommands('kubectl', 'helm');
  const images = await buildAndDeliver(process.env);
  await runLoudly([
    ...(['helm', 'upgrade', '--install', 'zerda', 'charts/zerda'] as const),
    ...['--namespace', namespace, '--create-namespace'],
    ...['--values', 'charts/zerda/values-dev.yaml', ...imageValues(images)],
    ...['--wait', '--timeout', '5m', ...words.filter((word) => word !== '--once')],
  ]);

  const forward = await forwardPort(namespace, 'zerda-gateway', { local: port, remote: 8000 });
  try {
    await answering(`${forward.url}/api/health`);
    console.log(`\nzerda is ready: curl ${forward.url.replace('127.0.0.1', 'localhost')}/api/dashboard`);
    if (once) return 0;
    console.log(`Ctrl-C ends the way to it, helm uninstall zerda --namespace ${namespace} the system.`);
    await Promise.race([forward.ended, new Promise<void>((resolve) => onStopSignal(resolve))]);
    return 0;
  } finally {
    await forward.stop();
  }
});

async function answering(url: string): Promise<void> {
  const giveUpAt = performance.now() + answerWithinMs;
  for (;;) {
    const status = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
      (response) => response.status,
      (error: Error) => error.message,
    );
    if (status === 200) return;
    if (performance.now() > giveUpAt) throw new StartupError(`${url} does not answer 200: ${status}`);
    await wait(250);
  }
}
