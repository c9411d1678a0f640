import { ask, type DatabaseName } from './databases.ts';
import { type Cut, cuts, type Link } from './link.ts';
import { patiently } from './patiently.ts';
import type { Random } from './random.ts';
import type { Stage } from './stage.ts';

/** Something that goes wrong. */
export interface Fault {
  readonly kind: 'kill' | 'cut' | 'pause' | 'statement';
  /** What, in words. */
  readonly name: string;
  /** What it happens to; of two faults of one thing the second waits for another time. */
  readonly what: string;
  /** Whether there is something that it can happen to; without one there always is. */
  possible?(): boolean;
  /** Brings it about; what it returns is to be awaited. */
  strike(): unknown;
  /** Ends it, likewise; without one it ends by itself. */
  end?(): unknown;
  /** Milliseconds until its end. */
  readonly lastsMs: number;
}

/**
 * The faults of one seed in their order: each thing that can be killed, paused or cut has its turn before one comes again. Those that make
 * an event come a second time come early, for without any a seed shows nothing.
 */
export function* chooseFaults(stage: Stage, random: Random): Generator<Fault, never> {
  for (;;) {
    const early = random.shuffle([lostAnswers(stage, random), killedSender(stage, random)]);
    const others = random.shuffle([
      ...['user-service', 'order-service', 'gateway'].map((service) => kill(stage, random, service)),
      killDatabase(stage, random, 'users'),
      killDatabase(stage, random, 'orders'),
      ...(stage.nats === undefined ? [] : [killNats(stage, random), pauseNats(stage, random)]),
      ...['user-service', 'order-service', 'gateway'].map((service) => pause(stage, random, service)),
      ...['sink', 'nats', 'database', 'user-service', 'order-service', 'clients', 'database'].flatMap(
        (what) => cutSome(stage, random, what),
      ),
      fullDisk(stage, random, random.pick(['users', 'orders'])),
      failingHandler(stage, random),
    ]);
    const at = random.between(1, 4);
    yield* [...early.slice(0, 1), ...others.slice(0, at), ...early.slice(1), ...others.slice(at)];
  }
}

function kill({ replicas }: Stage, random: Random, service: string): Fault {
  const replica = random.pick(nonEmpty(replicas.filter(({ name }) => name.startsWith(service))));
  const afterMs = random.between(100, 600);
  return {
    kind: 'kill',
    name: `kill ${replica.name}`,
    what: replica.name,
    lastsMs: 0,
    possible: () => replica.running,
    strike: () => replica.kill(afterMs),
  };
}

/** Whoever sends events is killed amid it: what was sent and not marked is sent again. */
const killedSender = (stage: Stage, random: Random): Fault => kill(stage, random, 'user-service');

function killDatabase({ databases }: Stage, random: Random, name: DatabaseName): Fault {
  const lastsMs = random.between(100, 900);
  return {
    kind: 'kill',
    name: `kill the database of ${name} for ${lastsMs} ms`,
    what: `database of ${name}`,
    lastsMs,
    strike: () => databases[name].kill(),
    end: () => databases[name].start(),
  };
}

function killNats({ nats }: Stage, random: Random): Fault {
  const lastsMs = random.between(100, 900);
  return {
    kind: 'kill',
    name: `kill nats-server for ${lastsMs} ms`,
    what: 'nats-server',
    lastsMs,
    strike: () => nats?.kill(),
    end: () => nats?.start(),
  };
}

function pauseNats({ nats }: Stage, random: Random): Fault {
  const lastsMs = random.between(500, 2500);
  return {
    kind: 'pause',
    name: `pause nats-server for ${lastsMs} ms`,
    what: 'nats-server',
    lastsMs,
    strike: () => nats?.signal('SIGSTOP'),
    end: () => nats?.signal('SIGCONT'),
  };
}

/** Mostly longer than a lease. */
function pause({ replicas }: Stage, random: Random, service: string): Fault {
  const replica = random.pick(nonEmpty(replicas.filter(({ name }) => name.startsWith(service))));
  const lastsMs = random.between(1200, 3000);
  return {
    kind: 'pause',
    name: `pause ${replica.name} for ${lastsMs} ms`,
    what: replica.name,
    lastsMs,
    possible: () => replica.running,
    strike: () => replica.pause(),
    end: () => replica.resume(),
  };
}

/** The same cut for all links of one kind, or for one of them. */
function cutSome({ links }: Stage, random: Random, what: string): Fault[] {
  const those = links.filter(({ name }) => name.includes(what === 'clients' ? 'clients' : `to ${what}`));
  const sinks = links.filter(({ name }) => name.includes('sink') || name.includes('witness'));
  const candidates = what === 'sink' ? sinks : those;
  if (candidates.length === 0) return [];
  const all = random.chance(0.4);
  const chosen = all ? candidates : [random.pick(nonEmpty(candidates))];
  return [cutFault(chosen, random.pick(cuts), random.between(300, 1500))];
}

/** Events arrive, and their acknowledgements do not: each of them comes again. */
function lostAnswers({ links, transport }: Stage, random: Random): Fault {
  const chosen = links.filter(({ name }) =>
    transport === 'nats' ? /^order-service \d to nats$/.test(name) : name.endsWith("order-service's sink"),
  );
  // Events come to order-service as answers of NATS, and its acknowledgements are among what it asks.
  const cut = transport === 'nats' ? 'lose-requests' : random.pick<Cut>(['lose-answers', 'reset-answers']);
  return cutFault(chosen, cut, random.between(400, 900));
}

function cutFault(chosen: readonly Link[], cut: Cut, lastsMs: number): Fault {
  return {
    kind: 'cut',
    name: `${cut} for ${lastsMs} ms: ${chosen.map(({ name }) => name).join(', ')}`,
    what: chosen.map(({ name }) => name).join(),
    lastsMs,
    strike() {
      for (const link of chosen) link.cut(cut);
    },
    end() {
      for (const link of chosen) link.heal();
    },
  };
}

function fullDisk(stage: Stage, random: Random, name: DatabaseName): Fault {
  return switched(stage, name, {
    name: `disk full at the outbox of ${name}`,
    sql: "insert into faults.switches values ('disk-full', 0) on conflict do nothing",
    lastsMs: random.between(300, 1000),
  });
}

/** For every third user, long enough for some of the events to be given up. */
function failingHandler(stage: Stage, random: Random): Fault {
  const remainder = random.between(0, 2);
  return switched(stage, 'orders', {
    name: `the handler fails for users of remainder ${remainder}`,
    sql: `insert into faults.switches values ('failing-handler', ${remainder}) on conflict do nothing`,
    lastsMs: random.between(1500, 3000),
  });
}

function switched(
  { databases }: Stage,
  database: DatabaseName,
  { name, sql, lastsMs }: { readonly name: string; readonly sql: string; readonly lastsMs: number },
): Fault {
  return {
    kind: 'statement',
    name: `${name} for ${lastsMs} ms`,
    what: `statements of ${database}`,
    lastsMs,
    // Where the database is away at the time, nothing comes of it; what has come must not stay for that.
    strike: () =>
      patiently(() => ask(databases[database], ({ rows }) => rows(sql)), 0).catch(() => undefined),
    end: () => patiently(() => ask(databases[database], ({ rows }) => rows('delete from faults.switches'))),
  };
}

function nonEmpty<T>(things: readonly T[]): readonly [T, ...T[]] {
  if (things.length === 0) throw new Error('there is nothing to choose from');
  return things as readonly [T, ...T[]];
}
