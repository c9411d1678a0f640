import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type StreamView, viewStream } from '../../../packages/chassis/src/events/testing-nats.ts';
import { bundleFile } from '../../../scripts/lib/services.ts';
import type { NatsWithUsers } from '../../system/lib/nats-with-users.ts';
import { check, type Violation } from './checker.ts';
import { ask } from './databases.ts';
import { type Evidence, gather, readDeliveries } from './evidence.ts';
import { chooseFaults, type Fault } from './faults.ts';
import { orderTables, userTables } from './instruments.ts';
import { patiently } from './patiently.ts';
import { createRandom, type Random } from './random.ts';
import { comeToRest } from './rest.ts';
import type { Stage } from './stage.ts';
import { type Clients, createClients, isAcknowledged } from './writes.ts';

const run = promisify(execFile);

/** Writes that clients begin at once, and milliseconds from one such volley to the next: the steady rate. */
const volley = { size: 24, everyMs: 450 };
/** Volleys of a seed, each with a fault amid it; more when by then not enough has happened for the seed to count. */
const rounds = { least: 10, most: 24 };
/** Writes without their answer above which clients begin no more: they are many, and not without number. */
const mostOpen = 80;
/** Faults at the same time. */
const atOnce = 4;
/** What a seed counts by: that many kills or cuts, each with that many writes in flight. */
const needed = { strikes: 3, inFlight: 20 };
/** Milliseconds that clients, and the services after them, have to come to rest once everything is well. */
const rest = { clientsMs: 25_000, servicesMs: 45_000 };

/** What happened in a seed, in numbers. */
export interface SeedNumbers {
  readonly kills: number;
  readonly cuts: number;
  readonly pauses: number;
  /** Statements that were made to fail. */
  readonly statements: number;
  /** Kills and cuts that came while enough writes were in flight. */
  readonly strikes: number;
  readonly acknowledged: number;
  readonly events: number;
  /** Times that an event was sent or handed out again. */
  readonly redeliveries: number;
  /** Times that order-service has found an event to be dealt with already. */
  readonly suppressed: number;
  /** Times that an event was given up. */
  readonly givenUp: number;
}

export interface SeedResult {
  readonly seed: number;
  readonly numbers: SeedNumbers;
  /** What did not hold; empty for a seed that passes. */
  readonly violations: readonly Violation[];
  /** Why the seed shows too little to count; undefined when it counts. */
  readonly tooQuiet: string | undefined;
  /** What was done when, a line each. */
  readonly story: readonly string[];
  readonly evidence: Evidence;
  readonly ms: number;
}

export interface SeedOptions {
  readonly stage: Stage;
  readonly seed: number;
  /** Folder with the bundles, for the command that replays dead letters. */
  readonly dist: string;
}

/** Lets everything go wrong for a while, heals it, and holds what is left against the rules. */
export async function runSeed({ stage, seed, dist }: SeedOptions): Promise<SeedResult> {
  const begun = performance.now();
  const random = createRandom(seed);
  const story: string[] = [];
  const tell = (line: string): void => {
    story.push(`${((performance.now() - begun) / 1000).toFixed(2).padStart(6)} s  ${line}`);
  };
  const before = await reset(stage);
  const deathsBefore = stage.replicas.map(({ deaths }) => deaths.length);
  const clients = createClients({ gateways: stage.gateways, random, prefix: `s${seed}` });

  const struck = await storm(stage, random, clients, tell);
  const incidents = await heal(stage, clients, tell);
  await dealWithLetters(stage, random, dist, tell);
  incidents.push(...(await rested(stage)));
  stage.replicas.forEach(({ name, deaths }, index) => {
    incidents.push(...deaths.slice(deathsBefore[index]).map((death) => `${name} ended by itself: ${death}`));
  });
  tell('at rest');

  const { databases, transport, nats, witness } = stage;
  const deliveries =
    nats === undefined
      ? [...witness.deliveries]
      : await viewing(nats, (stream) => readDeliveries(stream, before.stream));
  const { writes } = clients;
  const evidence = await gather({ databases, transport, writes, deliveries, incidents });
  const numbers = await countAll(stage, evidence, struck, before.handedOut);
  return {
    ...{ seed, numbers, story, evidence },
    violations: check(evidence),
    tooQuiet: whyTooQuiet(numbers),
    ms: performance.now() - begun,
  };
}

function whyTooQuiet({ strikes, redeliveries, suppressed }: SeedNumbers): string | undefined {
  if (strikes < needed.strikes) return `only ${strikes} kills or cuts amid ${needed.inFlight} writes`;
  if (redeliveries === 0) return 'nothing was delivered again';
  return suppressed === 0 ? 'no duplicate was suppressed' : undefined;
}

interface Before {
  /** Number of the stream's last message. */
  readonly stream: number;
  /** Times that the consumer of order-service has handed out a message. */
  readonly handedOut: number;
}

/** Empties the stores. */
async function reset({ databases, links, nats, witness }: Stage): Promise<Before> {
  for (const link of links) link.forget();
  await ask(databases.users, ({ rows }) => rows(`truncate ${userTables} cascade`));
  await ask(databases.orders, ({ rows }) => rows(`truncate ${orderTables} cascade`));
  witness.clear();
  if (nats === undefined) return { stream: 0, handedOut: 0 };
  return viewing(nats, (stream) =>
    // The first replica that starts makes them, a moment after it is ready.
    patiently(async () => {
      const { deliveries: handedOut } = await stream.consumer('order-service');
      // A server that is killed may hand out again what was acknowledged long ago; the inbox does not know it any more.
      await stream.purge();
      return { stream: await stream.last(), handedOut };
    }),
  );
}

type Struck = Readonly<Record<Fault['kind'] | 'amid', number>>;

/** Volleys of writes, and faults amid them. All faults have ended when it resolves. */
async function storm(
  stage: Stage,
  random: Random,
  clients: Clients,
  tell: (line: string) => void,
): Promise<Struck> {
  const struck = { kill: 0, cut: 0, pause: 0, statement: 0, amid: 0 };
  const active = new Map<string, Promise<void>>();
  const faults = chooseFaults(stage, random);

  async function last(fault: Fault): Promise<void> {
    await wait(fault.lastsMs);
    await fault.end?.();
    active.delete(fault.what);
  }
  async function strike(fault: Fault): Promise<void> {
    const amid = clients.inFlight;
    tell(`${fault.name} (${amid} writes in flight)`);
    struck[fault.kind] += 1;
    if ((fault.kind === 'kill' || fault.kind === 'cut') && amid >= needed.inFlight) struck.amid += 1;
    // Noted before it begins: a second one of the same thing must not come between.
    const lasting = Promise.resolve(fault.strike()).then(() => last(fault));
    active.set(fault.what, lasting);
    await Promise.race([lasting, wait(100)]);
  }

  // Somebody must be there who can be changed, ordered for and deleted.
  clients.volley(volley.size);
  await patiently(async () => {
    if (clients.writes.filter(isAcknowledged).length < volley.size / 2) throw new Error('nobody is there');
  });
  for (let round = 0; round < rounds.most; round += 1) {
    if (round >= rounds.least && struck.amid >= needed.strikes && (await hasSuppressed(stage))) break;
    const next = wait(volley.everyMs);
    clients.volley(Math.min(volley.size, mostOpen - clients.open));
    await wait(random.between(2, 40));
    const { value: fault } = faults.next();
    const possible = !active.has(fault.what) && (fault.possible?.() ?? true);
    if (active.size < atOnce && possible) await strike(fault);
    await next;
  }
  await Promise.all(active.values());
  return struck;
}

/** Whether order-service has suppressed a duplicate; not while its database is away. */
async function hasSuppressed({ databases }: Stage): Promise<boolean> {
  try {
    const acts = await ask(databases.orders, ({ rows }) =>
      rows<Evidence['acts']['orders'][number]>(
        'select transaction::text as transaction, relation from faults.acts',
      ),
    );
    return countSuppressed(acts) > 0;
  } catch {
    return false;
  }
}

async function heal(stage: Stage, clients: Clients, tell: (line: string) => void): Promise<string[]> {
  const incidents: string[] = [];
  tell(`everything is well again (${clients.inFlight} writes in flight)`);
  for (const link of stage.links) link.heal();
  for (const replica of stage.replicas) replica.resume();
  for (const replica of stage.replicas) {
    await replica.ready().catch((error: Error) => incidents.push(error.message));
  }
  await clients.settled(rest.clientsMs);
  tell('every write has its answer');
  incidents.push(...(await rested(stage)));
  return incidents;
}

/** Looks into the stream over a connection of its own, as an operator. */
async function viewing<T>(
  { url, passwords }: NatsWithUsers,
  look: (stream: StreamView) => Promise<T>,
): Promise<T> {
  const stream = await viewStream(url, 'ZERDA', { user: 'zerda', pass: passwords.zerda });
  return look(stream).finally(() => stream.close());
}

function rested({ databases, nats }: Stage): Promise<string[]> {
  const consumer = nats && (() => viewing(nats, (stream) => stream.consumer('order-service')));
  return comeToRest({ databases, consumer, withinMs: rest.servicesMs });
}

/** Replays the dead letters as an operator does; at times they are left, for they may lie there. Deletions may not: a saga hangs on them. */
async function dealWithLetters(
  { databases }: Stage,
  random: Random,
  dist: string,
  tell: (line: string) => void,
): Promise<void> {
  const letters = await ask(databases.orders, ({ rows }) =>
    rows<{ type: string }>("select type from dead_letters where side = 'receiving'"),
  );
  const leave = random.chance(0.3) && letters.every(({ type }) => type !== 'zerda.user.deleted.v1');
  if (letters.length === 0 || leave) return;
  const { stdout } = await run(
    process.execPath,
    [bundleFile('order-service', dist), 'events', 'dead-letters', 'replay', 'all'],
    { env: { PATH: process.env.PATH, NODE_ENV: 'production', DATABASE_URL: databases.orders.url } },
  );
  for (const line of stdout.trim().split('\n')) tell(`replayed: ${line}`);
}

async function countAll(
  { nats }: Stage,
  evidence: Evidence,
  struck: Struck,
  handedOutBefore: number,
): Promise<SeedNumbers> {
  const { acts, events, deliveries, writes } = evidence;
  const all = [...events.users, ...events.orders];
  let redeliveries = all.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0);
  if (nats !== undefined) {
    const { deliveries: handedOut } = await viewing(nats, (stream) => stream.consumer('order-service'));
    const stored = deliveries.filter(({ subject }) => subject.startsWith('users/')).length;
    redeliveries += Math.max(0, handedOut - handedOutBefore - stored);
  }
  const suppressed = countSuppressed(acts.orders);
  return {
    kills: struck.kill,
    cuts: struck.cut,
    pauses: struck.pause,
    statements: struck.statement,
    strikes: struck.amid,
    acknowledged: writes.filter(isAcknowledged).length,
    events: all.length,
    // A server that was killed does not remember what it has handed out; what was suppressed has come again for certain.
    redeliveries: Math.max(redeliveries, suppressed),
    suppressed,
    givenUp: acts.orders.filter(({ relation }) => relation === 'dead_letters').length,
  };
}

/** Transactions that have looked at an event and found nothing to do. */
function countSuppressed(
  acts: readonly Pick<Evidence['acts']['orders'][number], 'transaction' | 'relation'>[],
): number {
  const looked = new Set<string>();
  const did = new Set<string>();
  for (const { transaction, relation } of acts) {
    (relation === 'inbox_subjects' ? looked : did).add(transaction);
  }
  return [...looked].filter((transaction) => !did.has(transaction)).length;
}
