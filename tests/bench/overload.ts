import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import type { LoadPlan, LoadResult } from './load.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';
import { startWorker } from './worker-process.ts';

/** Milliseconds of CPU per request. The service handles one request at a time, so its capacity is at most 1,000 per second. */
const workMs = 1;
const milliseconds = 6000;
/** Offered loads as multiples of the capacity. */
const loadFactors = [0.8, 1, 2, 3];

/** Minimum successfulput at the highest load, in percent of the peak. */
const minGoodputPercent = 80;
/** Maximum p99 of successful requests at the highest load, in milliseconds. */
const maxP99Ms = 1000;

/** Measures successfulput and latency of the gateway while an open-loop load exceeds the capacity of a service. Resolves with the exit code. */
export async function measureOverload(harness: Harness): Promise<number> {
  const service = startWorker<{ workMs: number }, { port: number }>(
    new URL('busy-service-process.ts', import.meta.url),
  );
  const load = startWorker<LoadPlan, LoadResult>(new URL('load-process.ts', import.meta.url));
  const steady = startWorker<SteadyLoadPlan, SteadyLoadResult>(
    new URL('steady-load-process.ts', import.meta.url),
  );
  const { port: upstreamPort } = await service.call({ workMs });
  const gateway = await startGateway({ ...harness.proxyOptions, upstreamPort });
  try {
    const { port } = gateway;
    const { path, bytes } = bodies[0];
    const runLoad = (loadMs: number) =>
      load.call({ port, path, bytes, connections: 16, milliseconds: loadMs });
    await runLoad(1000);
    const { responded, milliseconds: elapsedMs } = await runLoad(4000);
    const capacity = Math.round((responded * 1000) / elapsedMs);
    const runs: {
      perSecond: number;
      rate: number;
      rejected: number;
      failed: number;
      p50: number;
      p99: number;
    }[] = [];
    for (const factor of loadFactors) {
      const perSecond = Math.round(capacity * factor);
      const { sent, responses } = await steady.call({ port, path, perSecond, milliseconds });
      const successful = responses
        .filter(({ status }) => status === 200)
        .map(({ ms }) => ms)
        .sort((a, b) => a - b);
      const rejected = responses.filter(({ status }) => status === 503).length;
      runs.push({
        perSecond,
        rejected,
        rate: (successful.length * 1000) / milliseconds,
        failed: sent - successful.length - rejected,
        p50: percentile(successful, 50) ?? Number.NaN,
        p99: percentile(successful, 99) ?? Number.NaN,
      });
    }
    const peak = Math.max(capacity, ...runs.map(({ rate }) => rate));
    console.log(`Capacity, measured with 16 connections: ${capacity} requests per second.\n`);
    console.log(
      '| offered req/s | successful req/s | of peak | rejected | failed | p50 ms | p99 ms |\n|--:|--:|--:|--:|--:|--:|--:|',
    );
    for (const { perSecond, rate, rejected, failed, p50, p99 } of runs) {
      const cells = [perSecond, rate.toFixed(0), `${((100 * rate) / peak).toFixed(0)} %`, rejected, failed];
      console.log(`| ${[...cells, p50.toFixed(0), p99.toFixed(0)].join(' | ')} |`);
    }
    const last = runs.at(-1);
    const passed =
      last !== undefined &&
      (100 * last.rate) / peak >= minGoodputPercent &&
      last.p99 <= maxP99Ms &&
      last.failed === 0;
    console.log(
      `\nGoals at ${loadFactors.at(-1)} times the capacity: ${passed ? 'met' : 'missed'} (at least ${minGoodputPercent} % of the peak, p99 at most ${maxP99Ms} ms, no failed request).`,
    );
    return passed ? 0 : 1;
  } finally {
    await gateway.stop();
    await Promise.all([load.stop(), steady.stop(), service.stop()]);
  }
}
