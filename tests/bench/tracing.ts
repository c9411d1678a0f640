import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { startPostgres } from '../../packages/chassis/testing/postgres.ts';
import { type Body, bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import type { RunningProxy } from './proxies.ts';
import { sumSamples } from './request-counts.ts';
import { startService } from './service.ts';
import { meanOf, percentile } from './statistics.ts';
import { startWorker } from './worker-process.ts';

/** A setting of tracing to measure. */
interface Variant {
  readonly name: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Path of another bundle. */
  readonly file?: string | undefined;
  /** Goal: maximum ratio to the first variant. */
  readonly goal?: number;
}

/** A process under load. */
interface Subject extends RunningProxy {
  /** Additional request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  scrape(): Promise<string>;
}

/** Costs and spans of a variant. */
interface Result {
  /** CPU microseconds of a request, of each process. */
  readonly costs: number[];
  requests: number;
  recorded: number;
  dropped: number;
}

/** Processes of each variant, one after another. Identical processes differ, because V8 optimizes each in its own way. */
const processes = 6;
/** Rounds of a process; in each, the variants take turns. */
const rounds = 12;
const milliseconds = 150;
/** With 10 % sampled, V8 optimizes the code that records spans after ten times as many requests. */
const warmUpMs = 4000;
/**
 * Percentile of a process's rounds that counts. Other programs on the machine only add to the CPU time of a request, so low percentiles of
 * identical processes are close, while their medians can differ by more than tracing costs.
 */
const undisturbedPercent = 10;

/**
 * Measures the CPU cost of tracing per request, as a ratio to a process without tracing: of the gateway, and of user-service if
 * PostgreSQL is installed. Processes that differ only in their tracing take turns; the collector has a process of its own. With
 * BENCH_BASELINE, the path of an earlier bundle of the gateway, that bundle takes turns too. Resolves with the exit code.
 */
export async function measureTracing(harness: Harness): Promise<number> {
  const collector = startWorker<object, { url: string }>(new URL('collector-process.ts', import.meta.url));
  const postgres = await startPostgres();
  try {
    const { url } = await collector.call({});
    const sampled = (ratio: string): NodeJS.ProcessEnv => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: ratio,
    });
    const variants: readonly Variant[] = [
      { name: 'off', goal: 1.01 },
      { name: 'off (repeated)', goal: 1.01 },
      { name: '0 % sampled', env: sampled('0') },
      { name: '10 % sampled', env: sampled('0.1'), goal: 1.05 },
      { name: '100 % sampled', env: sampled('1'), goal: 1.35 },
    ];
    const baseline = process.env.BENCH_BASELINE;
    const earlier: readonly Variant[] =
      baseline === undefined
        ? []
        : [
            { name: 'baseline, off', file: baseline },
            { name: 'baseline, 10 % sampled', file: baseline, env: sampled('0.1') },
            { name: 'baseline, 100 % sampled', file: baseline, env: sampled('1') },
          ];
    await measure(harness, 'gateway', bodies[0], [...variants, ...earlier], ({ env, file }) =>
      startGateway(harness.proxyOptions, { env: { ...process.env, ...env }, file }),
    );
    const byCaller = { ...sampled('0'), TRUST_TRACE_CONTEXT: 'true' };
    await measureDecisions(harness, 'gateway', bodies[0], () =>
      startGateway(harness.proxyOptions, { env: { ...process.env, ...byCaller } }),
    );
    if (postgres === undefined) console.log('\nuser-service is not measured: PostgreSQL is not installed.');
    else {
      await postgres.start();
      const body = await createUser(postgres.url);
      await measure(harness, 'user-service', body, variants, ({ env }) =>
        startService('user-service', postgres.url, env),
      );
      await measureDecisions(harness, 'user-service', body, () =>
        startService('user-service', postgres.url, sampled('0')),
      );
    }
    return 0;
  } finally {
    await postgres?.stop();
    await collector.stop();
  }
}

/** Creates a user in an empty database. Returns the response to reading the user. */
async function createUser(databaseUrl: string): Promise<Body> {
  const service = await startService('user-service', databaseUrl);
  try {
    const url = `http://127.0.0.1:${service.port}`;
    const json = { name: 'Ada', email: 'ada@example.com' };
    const path = (await sendRequest(`${url}/api/users`, { method: 'POST', json })).headers.location ?? '';
    const { text } = await sendRequest(`${url}${path}`);
    return { title: 'user', path, bytes: Buffer.byteLength(text), connections: 64 };
  } finally {
    await service.stop();
  }
}

/** `traceparent` of callers that decide against and for sampling. */
const decisions = [
  '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
];

/**
 * Measures the additional CPU cost of a sampled request in the same processes. The caller decides, and its decisions take turns, so
 * differences between identical processes do not count. Prints a table.
 */
async function measureDecisions(
  harness: Harness,
  title: string,
  body: Body,
  start: () => Promise<Subject>,
): Promise<void> {
  const [notSampled, sampled] = [createResult(), createResult()];
  for (let count = 0; count < processes; count += 1) {
    const subject = await start();
    try {
      const subjects = decisions.map((traceparent) => ({ ...subject, headers: { traceparent } }));
      await measureTogether(harness, body, subjects, [notSampled, sampled]);
    } finally {
      await subject.stop();
    }
  }
  if (sampled.recorded === 0) throw new Error(`${title} recorded no span: the caller does not decide.`);
  const pairs = sampled.costs.map((cost, index) => [cost, notSampled.costs[index] ?? Number.NaN] as const);
  const difference = meanOf(pairs.map(([cost, without]) => cost - without));
  const ratio = meanOf(pairs.map(([cost, without]) => cost / without));
  console.log(
    `\n| ${title} in one process, CPU µs/req | not sampled | sampled | difference | ratio |\n|---|--:|--:|--:|--:|\n` +
      `| | ${meanOf(notSampled.costs).mean.toFixed(1)} | ${meanOf(sampled.costs).mean.toFixed(1)} | ` +
      `${difference.mean.toFixed(1)} ± ${difference.error.toFixed(1)} | ${ratio.mean.toFixed(3)} ± ${ratio.error.toFixed(3)} |`,
  );
}

function createResult(): Result {
  return { costs: [], requests: 0, recorded: 0, dropped: 0 };
}

/** Measures the variants of a program and prints a table. */
async function measure(
  harness: Harness,
  title: string,
  body: Body,
  variants: readonly Variant[],
  start: (variant: Variant) => Promise<Subject>,
): Promise<void> {
  const results = variants.map(createResult);
  for (let count = 0; count < processes; count += 1) {
    const subjects: Subject[] = [];
    try {
      for (const variant of variants) subjects.push(await start(variant));
      await measureTogether(harness, body, subjects, results);
    } finally {
      for (const subject of subjects) await subject.stop();
    }
  }
  print(title, variants, results);
}

/** Measures the subjects in turn and adds to their results. */
async function measureTogether(
  harness: Harness,
  body: Body,
  subjects: readonly Subject[],
  results: readonly Result[],
): Promise<void> {
  const costs = subjects.map((): number[] => []);
  // Round 0 is the warm-up.
  for (let round = 0; round <= rounds; round += 1) {
    for (let turn = 0; turn < subjects.length; turn += 1) {
      const index = (turn + round) % subjects.length;
      const [proxy, result] = [subjects[index], results[index]];
      if (proxy === undefined || result === undefined) continue;
      const { cpuMicroseconds, responded, errors } = await harness.run({
        proxy,
        round,
        milliseconds: round === 0 ? warmUpMs : milliseconds,
        body,
        ...(proxy.headers && { headers: proxy.headers }),
      });
      if (Object.keys(errors).length > 0) console.error(proxy.name, errors);
      result.requests += responded;
      if (round > 0) costs[index]?.push(cpuMicroseconds ?? Number.NaN);
    }
  }
  for (const [index, { scrape }] of subjects.entries()) {
    const result = results[index];
    if (result === undefined) continue;
    const sorted = (costs[index] ?? []).toSorted((a, b) => a - b);
    result.costs.push(percentile(sorted, undisturbedPercent) ?? Number.NaN);
    const metrics = await scrape();
    const dropped = sumSamples(metrics, 'trace_spans_dropped_total', {});
    result.dropped += dropped;
    result.recorded += sumSamples(metrics, 'trace_spans_exported_total', {}) + dropped;
  }
}

function print(title: string, variants: readonly Variant[], results: readonly Result[]): void {
  console.log(
    `\n| tracing of ${title} | CPU µs/req | ratio | goal | spans/req | dropped spans |\n|---|--:|--:|--:|--:|--:|`,
  );
  const first = meanOf(results[0]?.costs ?? []);
  for (const [index, { costs, requests, recorded, dropped }] of results.entries()) {
    const { name, goal } = variants[index] ?? { name: '' };
    const cost = meanOf(costs);
    const cells = [
      name,
      `${cost.mean.toFixed(1)} ± ${cost.error.toFixed(1)}`,
      index === 0
        ? '1'
        : `${(cost.mean / first.mean).toFixed(3)} ± ${Math.hypot(cost.error / first.mean, first.error / first.mean).toFixed(3)}`,
      goal === undefined || index === 0 ? '' : `<= ${goal}`,
      (recorded / requests).toFixed(2),
      recorded === 0 ? '' : `${((100 * dropped) / recorded).toFixed(1)} %`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
