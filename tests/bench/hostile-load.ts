import { setTimeout as wait } from 'node:timers/promises';
import { bodies } from './bodies.ts';
import { competitors } from './competitors.ts';
import { gatewayName, startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import { type HostileKind, type HostilePlan, type HostileResult, hostileKinds } from './hostile-clients.ts';
import { readUsage } from './process-usage.ts';
import type { RunningProxy } from './proxies.ts';
import { describeMachine, saveResult } from './result-file.ts';
import { percentile, spread } from './statistics.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

/** Number of concurrent clients of each kind. */
const clients: Readonly<Record<HostileKind, number>> = {
  'slow senders': 2000,
  'slow readers': 2000,
  'health pollers': 500,
  'reconnecting clients': 200,
};
/** Number of addresses that the hostile clients share. */
const addresses = 20;
/** Normal requests per second, and the addresses of their clients. */
const perSecond = 200;
const normalAddresses = Array.from({ length: 50 }, (_, index) => `127.51.0.${index + 1}`);
/** Requests per second that go to the service without a proxy, as a control of the machine. */
const directPerSecond = 50;
/** Milliseconds during which normal requests are measured. */
const milliseconds = 10_000;
/** Milliseconds of normal requests and hostile clients before that. */
const rampMs = 3000;
/** Rounds of the gateway. The other proxies have one. */
const rounds = 3;
/** Proxies that are measured beside the gateway, if they are installed. The gateway alone has an endpoint for the health pollers. */
const compared: readonly string[] = ['nginx', '@fastify/http-proxy'];

/** Maximum p99 of normal requests as a multiple of their p99 without hostile clients. */
const maxP99Factor = 2;
/** Maximum memory of the gateway in bytes. */
const maxBytes = 512 * 1024 * 1024;

type Scenario = HostileKind | 'none';

/** One round of a scenario. Times are in milliseconds. */
interface Measurement {
  readonly proxy: string;
  readonly scenario: Scenario;
  readonly sent: number;
  /** Number of failed requests by status or error. */
  readonly failures: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
  readonly directP99: number;
  readonly residentBytes: number;
  readonly hostile: HostileResult | undefined;
}

interface Workers {
  readonly steady: WorkerProcess<SteadyLoadPlan, SteadyLoadResult>;
  readonly direct: WorkerProcess<SteadyLoadPlan, SteadyLoadResult>;
  readonly hostile: WorkerProcess<HostilePlan, HostileResult>;
}

/**
 * Measures a normal load on the gateway alone and with each kind of hostile clients, and on other proxies. Resolves with the exit code: 1
 * if a normal request failed at the gateway or it used too much memory. A p99 that is too high is only reported.
 */
export async function measureHostileClients(harness: Harness): Promise<number> {
  const steadyLoad = new URL('steady-load-process.ts', import.meta.url);
  const workers: Workers = {
    steady: startWorker(steadyLoad),
    direct: startWorker(steadyLoad),
    hostile: startWorker(new URL('hostile-clients-process.ts', import.meta.url)),
  };
  const { proxyOptions } = harness;
  const measurements: Measurement[] = [];
  /** Measures a proxy and stops it. The first round, without hostile clients, warms up. */
  async function measureProxy(proxy: RunningProxy, scenarios: readonly Scenario[]): Promise<void> {
    try {
      await measure(workers, proxy, proxyOptions.upstreamPort, 'none');
      for (const scenario of scenarios)
        measurements.push(await measure(workers, proxy, proxyOptions.upstreamPort, scenario));
    } finally {
      await proxy.stop();
    }
  }
  try {
    const scenarios: readonly Scenario[] = ['none', ...hostileKinds];
    await measureProxy(
      await startGateway(proxyOptions),
      Array.from({ length: rounds }, () => scenarios).flat(),
    );
    for (const { name, start } of competitors.filter((competitor) => compared.includes(competitor.name))) {
      const proxy = await start(proxyOptions).catch((error: Error) => {
        console.log(`Without ${name}: ${error.message}`);
      });
      if (proxy)
        await measureProxy(
          proxy,
          scenarios.filter((scenario) => scenario !== 'health pollers'),
        );
    }
  } finally {
    await Promise.all([workers.steady.stop(), workers.direct.stop(), workers.hostile.stop()]);
  }
  for (const [name, value] of Object.entries(describeMachine())) console.log(`${name}: ${value}`);
  console.log(
    `\n${perSecond} normal requests per second from ${normalAddresses.length} addresses, hostile clients from ${addresses} addresses. Medians of ${rounds} rounds of ${milliseconds / 1000} s for the gateway.\n`,
  );
  for (const line of formatTable(measurements)) console.log(line);
  const ofGateway = measurements.filter(({ proxy }) => proxy === gatewayName);
  const passed = ofGateway.every(
    ({ failures, residentBytes }) => Object.keys(failures).length === 0 && residentBytes <= maxBytes,
  );
  const slow = hostileKinds.filter((kind) => p99Ratio(ofGateway, kind) > maxP99Factor);
  console.log(
    `\n${passed ? 'Met' : 'Missed'}: no normal request fails at the gateway, and it uses at most ${maxBytes / 2 ** 20} MiB. ` +
      `${slow.length === 0 ? 'Met' : `Missed beside ${slow.join(' and ')}`}: p99 is at most ${maxP99Factor} times the p99 without hostile clients.`,
  );
  console.log(
    `Results written to ${await saveResult('hostile-load', { perSecond, addresses, measurements })}`,
  );
  return passed ? 0 : 1;
}

/** Measures one round. The normal load starts before the hostile clients, so that its connections exist. */
async function measure(
  { steady, direct, hostile }: Workers,
  { name, port, pid }: RunningProxy,
  upstreamPort: number,
  scenario: Scenario,
): Promise<Measurement> {
  const [small, , large] = bodies;
  const plan = { path: small.path, milliseconds: rampMs + milliseconds, ignoredMilliseconds: rampMs };
  const normal = steady.call({ ...plan, port, perSecond, addresses: normalAddresses });
  const control = direct.call({ ...plan, port: upstreamPort, perSecond: directPerSecond });
  await wait(500);
  const hostileRun =
    scenario === 'none'
      ? undefined
      : hostile.call({
          kind: scenario,
          port,
          addresses,
          clients: clients[scenario],
          largePath: large.path,
          smallPath: small.path,
          milliseconds: rampMs + milliseconds,
        });
  let residentBytes = 0;
  const sampling = setInterval(async () => {
    residentBytes = Math.max(residentBytes, (await readUsage(pid))?.residentBytes ?? 0);
  }, 500);
  const [{ sent, responses, errors }, controlResult] = await Promise.all([normal, control]).finally(() =>
    clearInterval(sampling),
  );
  const latencies = sortedLatencies(responses);
  const failed = responses.filter(({ status }) => status !== 200);
  return {
    proxy: name,
    scenario,
    sent,
    failures: sumCounts([errors, ...failed.map(({ status }) => ({ [status]: 1 }))]),
    p50: percentile(latencies, 50) ?? Number.NaN,
    p99: percentile(latencies, 99) ?? Number.NaN,
    directP99: percentile(sortedLatencies(controlResult.responses), 99) ?? Number.NaN,
    residentBytes,
    hostile: await hostileRun,
  };
}

function sumCounts(counts: readonly Measurement['failures'][]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((each) => Object.entries(each)))
    sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

/** Formats counts as `2 x 503, 1 x ECONNRESET`. */
function formatCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${count} x ${name}`)
    .join(', ');
}

/** Returns the milliseconds of the successful responses in ascending order. */
function sortedLatencies(responses: SteadyLoadResult['responses']): number[] {
  return responses
    .filter(({ status }) => status === 200)
    .map(({ ms }) => ms)
    .sort((a, b) => a - b);
}

function* formatTable(measurements: readonly Measurement[]): Generator<string> {
  yield '| proxy | hostile clients | hostile connections | hostile responses | normal requests | failed | p50 ms | p99 ms | p99 ratio | p99 ratio without a proxy | MiB |';
  yield '|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|';
  for (const proxy of new Set(measurements.map((measurement) => measurement.proxy))) {
    const ofProxy = measurements.filter((measurement) => measurement.proxy === proxy);
    for (const scenario of new Set(ofProxy.map((measurement) => measurement.scenario))) {
      const inScenario = ofProxy.filter((measurement) => measurement.scenario === scenario);
      const last = inScenario.at(-1)?.hostile;
      const cells = [
        proxy,
        scenario === 'none' ? 'none' : `${clients[scenario]} ${scenario}`,
        last?.connections ?? 0,
        formatCounts(last?.statuses ?? {}),
        inScenario.reduce((total, { sent }) => total + sent, 0),
        formatCounts(sumCounts(inScenario.map(({ failures }) => failures))) || 0,
        median(inScenario, 'p50').toFixed(1),
        median(inScenario, 'p99').toFixed(1),
        p99Ratio(ofProxy, scenario).toFixed(1),
        p99Ratio(ofProxy, scenario, 'directP99').toFixed(1),
        Math.round(Math.max(...inScenario.map(({ residentBytes }) => residentBytes)) / 2 ** 20),
      ];
      yield `| ${cells.join(' | ')} |`;
    }
  }
}

/** Returns the p99 of a scenario as a multiple of the p99 without hostile clients. */
function p99Ratio(
  ofProxy: readonly Measurement[],
  scenario: Scenario,
  key: 'p99' | 'directP99' = 'p99',
): number {
  const p99Of = (wanted: Scenario): number =>
    median(
      ofProxy.filter((measurement) => measurement.scenario === wanted),
      key,
    );
  return p99Of(scenario) / p99Of('none');
}

function median(measurements: readonly Measurement[], key: 'p50' | 'p99' | 'directP99'): number {
  return spread(measurements.map((measurement) => measurement[key]))?.median ?? Number.NaN;
}
