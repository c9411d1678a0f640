import { startCollector } from '../../packages/chassis/testing/collector.ts';
import { bodies } from './bodies.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import { spread } from './statistics.ts';

/** A setting of tracing to measure. */
interface Variant {
  readonly name: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Path of another bundle of the gateway. */
  readonly file?: string | undefined;
  /** Goal: maximum ratio to the first variant. */
  readonly goal?: number;
}

const rounds = 15;
const milliseconds = 500;

/**
 * Measures the CPU cost of tracing per request, as a ratio to a gateway without tracing. Gateways that differ only in their tracing take
 * turns in front of the same upstream; the collector runs in this process. With BENCH_BASELINE, the path of an earlier bundle of the
 * gateway, all ratios refer to that bundle. Resolves with the exit code.
 */
export async function measureTracing(harness: Harness): Promise<number> {
  const collector = await startCollector();
  const baseline = process.env.BENCH_BASELINE;
  const sampled = (ratio: string): NodeJS.ProcessEnv => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: ratio,
  });
  const variants: readonly Variant[] = [
    ...(baseline === undefined ? [] : [{ name: 'baseline', file: baseline }]),
    { name: 'off', goal: 1.01 },
    { name: 'off (repeated)', goal: 1.01 },
    { name: '0 % sampled', env: sampled('0') },
    { name: '10 % sampled', env: sampled('0.1'), goal: 1.05 },
    { name: '100 % sampled', env: sampled('1'), goal: 1.35 },
  ];
  const gateways: RunningGateway[] = [];
  try {
    for (const { env, file } of variants)
      gateways.push(await startGateway(harness.proxyOptions, { env: { ...process.env, ...env }, file }));
    const cost: number[][] = variants.map(() => []);
    // Round 0 is the warm-up.
    for (let round = 0; round <= rounds; round += 1) {
      for (let turn = 0; turn < variants.length; turn += 1) {
        const index = (turn + round) % variants.length;
        const proxy = gateways[index];
        if (proxy === undefined) continue;
        const { cpuMicroseconds, errors } = await harness.run({
          proxy,
          round,
          milliseconds,
          body: bodies[0],
        });
        if (Object.keys(errors).length > 0) console.error(variants[index]?.name, errors);
        if (round > 0) cost[index]?.push(cpuMicroseconds ?? Number.NaN);
      }
    }
    console.log('| tracing | CPU µs/req | ratio | goal |\n|---|--:|--:|--:|');
    for (const [index, { name, goal }] of variants.entries()) {
      const cpu = spread(cost[index] ?? []);
      const ratio = spread(
        (cost[index] ?? []).map((value, round) => value / (cost[0]?.[round] ?? Number.NaN)),
      );
      console.log(
        `| ${name} | ${cpu?.median.toFixed(1)} (${cpu?.lowest.toFixed(1)}-${cpu?.highest.toFixed(1)}) | ${ratio?.median.toFixed(3)} (${ratio?.lowest.toFixed(3)}-${ratio?.highest.toFixed(3)}) | ${goal === undefined || index === 0 ? '' : `<= ${goal}`} |`,
      );
    }
    return 0;
  } finally {
    for (const gateway of gateways) await gateway.stop();
    await collector.close();
  }
}
