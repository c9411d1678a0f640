import { setTimeout as wait } from 'node:timers/promises';
import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import type { Harness } from './harness.ts';
import { type HostileKind, type HostilePlan, type HostileResult, hostileKinds } from './hostile-clients.ts';
import { readUsage } from './process-usage.ts';
import { describeMachine, saveResult } from './result-file.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';
import { startWorker } from './worker-process.ts';

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
/** Milliseconds during which normal requests are sent. */
const milliseconds = 10_000;
/** Milliseconds between the start of the hostile clients and the first normal request. */
const rampMs = 3000;

/** Maximum p99 of normal requests as a multiple of their p99 without hostile clients. */
const maxP99Factor = 2;
/** Maximum memory of the gateway in bytes. */
const maxBytes = 512 * 1024 * 1024;

interface Row {
  readonly name: string;
  readonly sent: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
  readonly residentBytes: number;
  readonly hostile: HostileResult | undefined;
}

/**
 * Measures a normal load on the gateway alone and with each kind of hostile clients. Resolves with the exit code: 1 if a normal
 * request failed or the gateway used too much memory. A p99 that is too high is only reported.
 */
export async function measureHostileClients(harness: Harness): Promise<number> {
  const steady = startWorker<SteadyLoadPlan, SteadyLoadResult>(
    new URL('steady-load-process.ts', import.meta.url),
  );
  const hostile = startWorker<HostilePlan, HostileResult>(
    new URL('hostile-clients-process.ts', import.meta.url),
  );
  const gateway = await startGateway(harness.proxyOptions);
  const { port, pid } = gateway;
  const [small, , large] = bodies;

  async function measure(kind: HostileKind | undefined): Promise<Row> {
    const hostileRun =
      kind &&
      hostile.call({
        kind,
        port,
        addresses,
        clients: clients[kind],
        largePath: large.path,
        smallPath: small.path,
        milliseconds: rampMs + milliseconds + 1000,
      });
    if (hostileRun !== undefined) await wait(rampMs);
    let residentBytes = 0;
    const sampling = setInterval(async () => {
      residentBytes = Math.max(residentBytes, (await readUsage(pid))?.residentBytes ?? 0);
    }, 500);
    const { sent, responses } = await steady.call({
      port,
      path: small.path,
      perSecond,
      milliseconds,
      addresses: normalAddresses,
    });
    clearInterval(sampling);
    const latencies = responses.filter(({ status }) => status === 200).map(({ ms }) => ms);
    latencies.sort((a, b) => a - b);
    return {
      name: kind === undefined ? 'none' : `${clients[kind]} ${kind}`,
      sent,
      residentBytes,
      failed: sent - latencies.length,
      p50: percentile(latencies, 50) ?? Number.NaN,
      p99: percentile(latencies, 99) ?? Number.NaN,
      hostile: await hostileRun,
    };
  }

  try {
    await measure(undefined);
    const rows: Row[] = [await measure(undefined)];
    for (const kind of hostileKinds) rows.push(await measure(kind));
    const baselineP99 = rows[0]?.p99 ?? Number.NaN;
    for (const [name, value] of Object.entries(describeMachine())) console.log(`${name}: ${value}`);
    console.log(
      `\n${perSecond} normal requests per second from ${normalAddresses.length} addresses, hostile clients from ${addresses} addresses.\n`,
    );
    console.log(
      '| hostile clients | hostile connections | hostile responses | normal requests | failed | p50 ms | p99 ms | p99 ratio | gateway MiB |\n|---|--:|---|--:|--:|--:|--:|--:|--:|',
    );
    for (const { name, hostile: result, sent, failed, p50, p99, residentBytes } of rows) {
      const statuses = Object.entries(result?.statuses ?? {}).map(
        ([status, count]) => `${count} x ${status}`,
      );
      const cells = [
        name,
        result?.connections ?? 0,
        statuses.join(', '),
        sent,
        failed,
        p50.toFixed(1),
        p99.toFixed(1),
        (p99 / baselineP99).toFixed(1),
        Math.round(residentBytes / 2 ** 20),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
    const passed = rows.every(({ failed, residentBytes }) => failed === 0 && residentBytes <= maxBytes);
    const isFast = rows.every(({ p99 }) => p99 <= baselineP99 * maxP99Factor);
    console.log(
      `\n${passed ? 'Met' : 'Missed'}: no normal request fails, and the gateway uses at most ${maxBytes / 2 ** 20} MiB. ` +
        `${isFast ? 'Met' : 'Missed'}: p99 is at most ${maxP99Factor} times the p99 without hostile clients.`,
    );
    console.log(`Results written to ${await saveResult('hostile-load', { perSecond, addresses, rows })}`);
    return passed ? 0 : 1;
  } finally {
    await gateway.stop();
    await Promise.all([steady.stop(), hostile.stop()]);
  }
}
