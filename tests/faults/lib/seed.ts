import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { type StreamView, viewStream } from '../../../packages/events/testing/nats.ts';
import { bundleFile } from '../../../scripts/lib/services.ts';
import type { NatsWithUsers } from '../../kit/nats-with-users.ts';
import { findViolations, type Violation } from './checker.ts';
import { withConnection } from './databases.ts';
import { collectEvidence, type Evidence, readDeliveries } from './evidence.ts';
import { chooseFaults, type Fault } from './faults.ts';
import { orderTables, userTables } from './instruments.ts';
import { createRandom, type Random } from './random.ts';
import type { TestSystem } from './test-system.ts';
import { waitUntilIdle } from './wait-until-idle.ts';
import { type Clients, createClients, isAcknowledged } from './writes.ts';

const run = promisify(execFile);

/** Writes that start at the same time, and milliseconds between such batches. */
const batch = { size: 24, everyMs: 450 };
/** Number of batches of a seed, each with a fault. After the minimum, the seed ends as soon as it counts. */
const rounds = { min: 10, max: 24 };
/** Maximum number of writes without a response. */
const maxPending = 80;
/** Maximum number of faults at the same time. */
const maxFaults = 4;
/** Requirements for a seed to count: that many kills or cuts, each with that many writes in flight. */
const required = { faults: 3, inFlight: 20 };
/** Maximum milliseconds until all writes have responses, and until the services are idle, after all faults have ended. */
const idleTimeouts = { clientsMs: 25_000, servicesMs: 45_000 };

/** Numbers of a seed. */
export interface SeedNumbers {
  readonly kills: number;
  readonly cuts: number;
  readonly pauses: number;
  /** Injected statement failures. */
  readonly statements: number;
  /** Kills and cuts with enough writes in flight. */
  readonly faultsUnderLoad: number;
  readonly acknowledged: number;
  readonly events: number;
  /** Repeated deliveries of events. */
  readonly redeliveries: number;
  /** Duplicates that order-service recognized. */
  readonly duplicates: number;
  /** Events that became dead letters. */
  readonly deadLetters: number;
}

export interface SeedResult {
  readonly seed: number;
  readonly numbers: SeedNumbers;
  /** Violated rules; empty if the seed passes. */
  readonly violations: readonly Violation[];
  /** Why the seed does not count; undefined if it counts. */
  readonly insufficient: string | undefined;
  /** Events of the run with their times, one per line. */
  readonly timeline: readonly string[];
  readonly evidence: Evidence;
  readonly ms: number;
}

export interface SeedOptions {
  readonly system: TestSystem;
  readonly seed: number;
  /** Folder with the bundles, for the command `events dead-letters replay`. */
  readonly dist: string;
}

/** Injects faults under load, ends them, waits until the system is idle, and checks the evidence. */
export async function runSeed({ system, seed, dist }: SeedOptions): Promise<SeedResult> {
  const startedAt = performance.now();
  const random = createRandom(seed);
  const timeline: string[] = [];
  const log = (line: string): void => {
    timeline.push(`${((performance.now() - startedAt) / 1000).toFixed(2).padStart(6)} s  ${line}`);
  };
  const before = await reset(system);
  const exitsBefore = system.replicas.map(({ unexpectedExits }) => unexpectedExits.length);
  const clients = createClients({ gateways: system.gateways, random, prefix: `s${seed}` });

  const counts = await injectFaults(system, random, clients, log);
  const incidents = await heal(system, clients, log);
  await replayDeadLetters(system, random, dist, log);
  incidents.push(...(await waitUntilSystemIdle(system)));
  system.replicas.forEach(({ name, unexpectedExits }, index) => {
    incidents.push(
      ...unexpectedExits.slice(exitsBefore[index]).map((exit) => `${name} exited unexpectedly: ${exit}`),
    );
  });
  log('idle');

  const { databases, transport, nats, recorder } = system;
  const deliveries =
    nats === undefined
      ? [...recorder.deliveries]
      : await withStream(nats, (stream) => readDeliveries(stream, before.stream));
  const { writes } = clients;
  const evidence = await collectEvidence({ databases, transport, writes, deliveries, incidents });
  const numbers = await countAll(system, evidence, counts, before.delivered);
  return {
    seed,
    numbers,
    timeline,
    evidence,
    violations: findViolations(evidence),
    insufficient: findInsufficiency(numbers),
    ms: performance.now() - startedAt,
  };
}

function findInsufficiency({ faultsUnderLoad, redeliveries, duplicates }: SeedNumbers): string | undefined {
  if (faultsUnderLoad < required.faults)
    return `only ${faultsUnderLoad} kills or cuts with ${required.inFlight} writes in flight`;
  if (redeliveries === 0) return 'no event was redelivered';
  return duplicates === 0 ? 'no duplicate was recognized' : undefined;
}

/** State of NATS before a seed. */
interface Before {
  /** Sequence number of the stream's last message. */
  readonly stream: number;
  /** Number of deliveries of order-service's consumer. */
  readonly delivered: number;
}

/** Empties the databases, the stream and the event recorder. */
async function reset({ databases, links, nats, recorder }: TestSystem): Promise<Before> {
  for (const link of links) link.resetLossy();
  await withConnection(databases.users, ({ rows }) => rows(`truncate ${userTables} cascade`));
  await withConnection(databases.orders, ({ rows }) => rows(`truncate ${orderTables} cascade`));
  recorder.clear();
  if (nats === undefined) return { stream: 0, delivered: 0 };
  return withStream(nats, (stream) =>
    // The first replica creates the stream and the consumer shortly after it is ready.
    eventually(async () => {
      const { deliveries: delivered } = await stream.consumer('order-service');
      // A killed server may redeliver messages acknowledged long ago, which the truncated inbox does not know.
      await stream.purge();
      return { stream: await stream.last(), delivered };
    }),
  );
}

type FaultCounts = Readonly<Record<Fault['kind'] | 'underLoad', number>>;

/** Starts batches of writes and injects faults. Resolves when all faults have ended. */
async function injectFaults(
  system: TestSystem,
  random: Random,
  clients: Clients,
  log: (line: string) => void,
): Promise<FaultCounts> {
  const counts = { kill: 0, cut: 0, pause: 0, statement: 0, underLoad: 0 };
  const active = new Map<string, Promise<void>>();
  const faults = chooseFaults(system, random);

  async function endLater(fault: Fault): Promise<void> {
    await wait(fault.durationMs);
    await fault.end?.();
    active.delete(fault.target);
  }
  async function start(fault: Fault): Promise<void> {
    const { inFlight } = clients;
    log(`${fault.name} (${inFlight} writes in flight)`);
    counts[fault.kind] += 1;
    if ((fault.kind === 'kill' || fault.kind === 'cut') && inFlight >= required.inFlight)
      counts.underLoad += 1;
    // Recorded before it has started, so that no other fault of the same target starts meanwhile.
    const ended = Promise.resolve(fault.start()).then(() => endLater(fault));
    active.set(fault.target, ended);
    await Promise.race([ended, wait(100)]);
  }

  // Later writes need users to change, order for and delete.
  clients.startWrites(batch.size);
  await eventually(async () => {
    if (clients.writes.filter(isAcknowledged).length < batch.size / 2)
      throw new Error('too few users were created');
  });
  for (let round = 0; round < rounds.max; round += 1) {
    if (round >= rounds.min && counts.underLoad >= required.faults && (await hasDuplicates(system))) break;
    const next = wait(batch.everyMs);
    clients.startWrites(Math.min(batch.size, maxPending - clients.pending));
    await wait(random.between(2, 40));
    const { value: fault } = faults.next();
    const possible = !active.has(fault.target) && (fault.isPossible?.() ?? true);
    if (active.size < maxFaults && possible) await start(fault);
    await next;
  }
  await Promise.all(active.values());
  return counts;
}

/** Whether order-service has recognized a duplicate; false if its database is unavailable. */
async function hasDuplicates({ databases }: TestSystem): Promise<boolean> {
  try {
    const changes = await withConnection(databases.orders, ({ rows }) =>
      rows<Evidence['changes']['orders'][number]>(
        'select transaction::text as transaction, relation from faults.acts',
      ),
    );
    return countDuplicates(changes) > 0;
  } catch {
    return false;
  }
}

async function heal(system: TestSystem, clients: Clients, log: (line: string) => void): Promise<string[]> {
  const incidents: string[] = [];
  log(`all faults have ended (${clients.inFlight} writes in flight)`);
  for (const link of system.links) link.heal();
  for (const replica of system.replicas) replica.resume();
  for (const replica of system.replicas) {
    await replica.ready().catch((error: Error) => incidents.push(error.message));
  }
  await clients.waitForResponses(idleTimeouts.clientsMs);
  log('every write has a response');
  incidents.push(...(await waitUntilSystemIdle(system)));
  return incidents;
}

/** Runs `work` with a new connection to the stream, as an operator. */
async function withStream<T>(
  { url, passwordOf }: NatsWithUsers,
  work: (stream: StreamView) => Promise<T>,
): Promise<T> {
  const stream = await viewStream(url, 'ZERDA', { user: 'zerda', pass: passwordOf('zerda') });
  return work(stream).finally(() => stream.close());
}

function waitUntilSystemIdle({ databases, nats }: TestSystem): Promise<string[]> {
  const consumer = nats && (() => withStream(nats, (stream) => stream.consumer('order-service')));
  return waitUntilIdle({ databases, consumer, withinMs: idleTimeouts.servicesMs });
}

/**
 * Replays the dead letters with the operators' command. At random it leaves them, because they may remain. Deletions are always replayed,
 * because the saga needs them.
 */
async function replayDeadLetters(
  { databases }: TestSystem,
  random: Random,
  dist: string,
  log: (line: string) => void,
): Promise<void> {
  const deadLetters = await withConnection(databases.orders, ({ rows }) =>
    rows<{ type: string }>("select type from dead_letters where side = 'receiving'"),
  );
  const skip = random.chance(0.3) && deadLetters.every(({ type }) => type !== 'zerda.user.deleted.v1');
  if (deadLetters.length === 0 || skip) return;
  const { stdout } = await run(
    process.execPath,
    [bundleFile('order-service', dist), 'events', 'dead-letters', 'replay', 'all'],
    { env: { PATH: process.env.PATH, NODE_ENV: 'production', DATABASE_URL: databases.orders.url } },
  );
  for (const line of stdout.trim().split('\n')) log(`replayed: ${line}`);
}

async function countAll(
  { nats }: TestSystem,
  evidence: Evidence,
  counts: FaultCounts,
  deliveredBefore: number,
): Promise<SeedNumbers> {
  const { changes, events, deliveries, writes } = evidence;
  const all = [...events.users, ...events.orders];
  let redeliveries = all.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0);
  if (nats !== undefined) {
    const { deliveries: delivered } = await withStream(nats, (stream) => stream.consumer('order-service'));
    const stored = deliveries.filter(({ subject }) => subject.startsWith('users/')).length;
    redeliveries += Math.max(0, delivered - deliveredBefore - stored);
  }
  const duplicates = countDuplicates(changes.orders);
  return {
    kills: counts.kill,
    cuts: counts.cut,
    pauses: counts.pause,
    statements: counts.statement,
    faultsUnderLoad: counts.underLoad,
    acknowledged: writes.filter(isAcknowledged).length,
    events: all.length,
    // A killed NATS server loses its delivery count. Every recognized duplicate was a redelivery.
    redeliveries: Math.max(redeliveries, duplicates),
    duplicates,
    deadLetters: changes.orders.filter(({ relation }) => relation === 'dead_letters').length,
  };
}

/** Counts transactions that read an event and recorded nothing for it. */
function countDuplicates(
  changes: readonly Pick<Evidence['changes']['orders'][number], 'transaction' | 'relation'>[],
): number {
  const reading = new Set<string>();
  const applying = new Set<string>();
  for (const { transaction, relation } of changes) {
    (relation === 'inbox_subjects' ? reading : applying).add(transaction);
  }
  return [...reading].filter((transaction) => !applying.has(transaction)).length;
}
