import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import { startHelper } from './helper.ts';
import type { LoadPlan, LoadResult } from './load.ts';
import type { Stage } from './stage.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';

/** Milliseconds of CPU that the service takes for a request, one after another: what it can do is a thousand a second at most. */
const workMs = 1;
const milliseconds = 6000;
/** How many times what can be done is asked for. */
const times = [0.8, 1, 2, 3];

/** Share of the peak, in percent, that must be answered at three times what can be done. */
const leastGoodput = 80;
/** Milliseconds that admitted requests may take, all but one in a hundred. */
const longestP99 = 1000;

/**
 * The gateway in front of a service that can do so much and no more: how much of it is done when more is asked for, in requests that
 * come whether or not those before are answered. Resolves with the exit code.
 */
export async function shedOverload(stage: Stage): Promise<number> {
  const service = startHelper<{ workMs: number }, { port: number }>(
    new URL('busy-service-process.ts', import.meta.url),
  );
  const load = startHelper<LoadPlan, LoadResult>(new URL('load-process.ts', import.meta.url));
  const steady = startHelper<SteadyLoadPlan, SteadyLoadResult>(
    new URL('steady-load-process.ts', import.meta.url),
  );
  const { port: upstreamPort } = await service.ask({ workMs });
  const gateway = await startGateway({ ...stage.surroundings, upstreamPort });
  try {
    const { port } = gateway;
    const { path, bytes } = bodies[0];
    const ask = (span: number) => load.ask({ port, path, bytes, connections: 16, milliseconds: span });
    await ask(1000);
    const { answered, milliseconds: took } = await ask(4000);
    const capacity = Math.round((answered * 1000) / took);
    const runs: {
      perSecond: number;
      rate: number;
      refused: number;
      failed: number;
      p50: number;
      p99: number;
    }[] = [];
    for (const factor of times) {
      const perSecond = Math.round(capacity * factor);
      const { sent, answers } = await steady.ask({ port, path, perSecond, milliseconds });
      const good = answers
        .filter(({ status }) => status === 200)
        .map(({ ms }) => ms)
        .sort((a, b) => a - b);
      const refused = answers.filter(({ status }) => status === 503).length;
      runs.push({
        ...{ perSecond, refused, rate: (good.length * 1000) / milliseconds },
        failed: sent - good.length - refused,
        p50: percentile(good, 50) ?? Number.NaN,
        p99: percentile(good, 99) ?? Number.NaN,
      });
    }
    const peak = Math.max(capacity, ...runs.map(({ rate }) => rate));
    console.log(`One request after another on 16 connections: ${capacity} a second.\n`);
    console.log(
      '| asked for a second | answered a second | of the peak | refused | failed | p50 ms | p99 ms of what is answered |\n|--:|--:|--:|--:|--:|--:|--:|',
    );
    for (const { perSecond, rate, refused, failed, p50, p99 } of runs) {
      const cells = [perSecond, rate.toFixed(0), `${((100 * rate) / peak).toFixed(0)} %`, refused, failed];
      console.log(`| ${[...cells, p50.toFixed(0), p99.toFixed(0)].join(' | ')} |`);
    }
    const last = runs.at(-1);
    const held =
      last !== undefined &&
      (100 * last.rate) / peak >= leastGoodput &&
      last.p99 <= longestP99 &&
      last.failed === 0;
    console.log(
      `\nAt ${times.at(-1)} times: ${held ? 'held' : 'not held'} (at least ${leastGoodput} % of the peak, p99 up to ${longestP99} ms, none failed).`,
    );
    return held ? 0 : 1;
  } finally {
    await gateway.stop();
    await Promise.all([load.stop(), steady.stop(), service.stop()]);
  }
}
