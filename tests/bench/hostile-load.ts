import { setTimeout as wait } from 'node:timers/promises';
import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import { startHelper } from './helper.ts';
import { type HostileKind, type HostilePlan, type HostileResult, hostileKinds } from './hostile-clients.ts';
import { readUsage } from './process-usage.ts';
import { describeMachine, saveResult } from './result-file.ts';
import type { Stage } from './stage.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';

/** How many clients of each kind come at once. */
const clients: Readonly<Record<HostileKind, number>> = {
  'slow senders': 2000,
  'slow readers': 2000,
  'health pollers': 500,
  'reconnecting clients': 200,
};
/** Addresses that they share. */
const addresses = 20;
/** Requests a second of the clients that mean well, and the addresses that they come from. */
const perSecond = 200;
const goodAddresses = Array.from({ length: 50 }, (_, index) => `127.51.0.${index + 1}`);
/** Milliseconds of their load. */
const milliseconds = 10_000;
/** Milliseconds that hostile clients are there before. */
const rampMs = 3000;

/** How much longer the slowest in a hundred of the good requests may take, at most. */
const mostTimes = 2;
/** Bytes of memory that the gateway may use, at most. */
const mostBytes = 512 * 1024 * 1024;

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
 * The gateway under a steady load of clients that mean well, alone and beside each kind of hostile clients. Resolves with the exit code: 1
 * when a good request failed or the gateway used too much memory; a response time that is too long is only told.
 */
export async function meetHostileClients(stage: Stage): Promise<number> {
  const steady = startHelper<SteadyLoadPlan, SteadyLoadResult>(
    new URL('steady-load-process.ts', import.meta.url),
  );
  const hostile = startHelper<HostilePlan, HostileResult>(
    new URL('hostile-clients-process.ts', import.meta.url),
  );
  // Counted, and never reached: clients are told apart by it.
  const gateway = await startGateway(stage.surroundings);
  const { port, pid } = gateway;
  const [small, , large] = bodies;

  async function measure(kind: HostileKind | undefined): Promise<Row> {
    const beside =
      kind &&
      hostile.ask({
        ...{ kind, port, addresses, clients: clients[kind] },
        ...{ largePath: large.path, smallPath: small.path, milliseconds: rampMs + milliseconds + 1000 },
      });
    if (beside !== undefined) await wait(rampMs);
    let residentBytes = 0;
    const sampling = setInterval(async () => {
      residentBytes = Math.max(residentBytes, (await readUsage(pid))?.residentBytes ?? 0);
    }, 500);
    const { sent, answers } = await steady.ask({
      ...{ port, path: small.path, perSecond, milliseconds, addresses: goodAddresses },
    });
    clearInterval(sampling);
    const good = answers.filter(({ status }) => status === 200).map(({ ms }) => ms);
    good.sort((a, b) => a - b);
    return {
      ...{ name: kind === undefined ? 'none' : `${clients[kind]} ${kind}`, sent, residentBytes },
      failed: sent - good.length,
      p50: percentile(good, 50) ?? Number.NaN,
      p99: percentile(good, 99) ?? Number.NaN,
      hostile: await beside,
    };
  }

  try {
    await measure(undefined);
    const rows: Row[] = [await measure(undefined)];
    for (const kind of hostileKinds) rows.push(await measure(kind));
    const alone = rows[0]?.p99 ?? Number.NaN;
    for (const [name, value] of Object.entries(describeMachine())) console.log(`${name}: ${value}`);
    console.log(
      `\n${perSecond} good requests a second from ${goodAddresses.length} addresses, hostile clients from ${addresses}.\n`,
    );
    console.log(
      '| hostile clients | their connections | responses to them | good requests | failed | p50 ms | p99 ms | times that without | gateway MiB |\n|---|--:|---|--:|--:|--:|--:|--:|--:|',
    );
    for (const { name, hostile: result, sent, failed, p50, p99, residentBytes } of rows) {
      const statuses = Object.entries(result?.statuses ?? {}).map(
        ([status, count]) => `${count} x ${status}`,
      );
      const cells = [
        ...[name, result?.connections ?? 0, statuses.join(', '), sent, failed],
        ...[p50.toFixed(1), p99.toFixed(1), (p99 / alone).toFixed(1), Math.round(residentBytes / 2 ** 20)],
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
    const held = rows.every(({ failed, residentBytes }) => failed === 0 && residentBytes <= mostBytes);
    const quick = rows.every(({ p99 }) => p99 <= alone * mostTimes);
    console.log(
      `\n${held ? 'Held' : 'Not held'}: no good request fails, at most ${mostBytes / 2 ** 20} MiB. ` +
        `${quick ? 'Held' : 'Not held'}: p99 at most ${mostTimes} times that without.`,
    );
    console.log(`All of it is in ${await saveResult('hostile-load', { perSecond, addresses, rows })}`);
    return held ? 0 : 1;
  } finally {
    await gateway.stop();
    await Promise.all([steady.stop(), hostile.stop()]);
  }
}
