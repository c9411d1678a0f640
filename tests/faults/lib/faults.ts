import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { type DatabaseName, withConnection } from './databases.ts';
import { type Cut, cuts, type Link } from './link.ts';
import type { Random } from './random.ts';
import type { TestSystem } from './test-system.ts';

/** A fault that the test injects. */
export interface Fault {
  readonly kind: 'kill' | 'cut' | 'pause' | 'statement';
  /** Description for the timeline. */
  readonly name: string;
  /** Affected component. A target has at most one fault at a time. */
  readonly target: string;
  /** Whether the fault is currently possible; default true. */
  isPossible?(): boolean;
  /** Starts the fault; a returned promise must be awaited. */
  start(): unknown;
  /** Ends the fault, likewise; not needed if it ends by itself. */
  end?(): unknown;
  /** Milliseconds from start to end. */
  readonly durationMs: number;
}

/**
 * Yields the faults of a seed in order. Each component is killed, paused or cut once before one is affected again. Faults that cause
 * redeliveries come early, because a seed without redeliveries does not count.
 */
export function* chooseFaults(system: TestSystem, random: Random): Generator<Fault, never> {
  for (;;) {
    const early = random.shuffle([loseAcknowledgments(system, random), killSender(system, random)]);
    const others = random.shuffle([
      ...['user-service', 'order-service', 'gateway'].map((service) => kill(system, random, service)),
      killDatabase(system, random, 'users'),
      killDatabase(system, random, 'orders'),
      ...(system.nats === undefined ? [] : [killNats(system, random), pauseNats(system, random)]),
      ...['user-service', 'order-service', 'gateway'].map((service) => pause(system, random, service)),
      ...linkedComponents(system).map((component) => cutLinks(system, random, component)),
      fullDisk(system, random, random.pick(['users', 'orders'])),
      failingHandler(system, random),
    ]);
    const at = random.between(1, 4);
    yield* [...early.slice(0, 1), ...others.slice(0, at), ...early.slice(1), ...others.slice(at)];
  }
}

function kill({ replicas }: TestSystem, random: Random, service: string): Fault {
  const replica = random.pick(nonEmpty(replicas.filter(({ name }) => name.startsWith(service))));
  const afterMs = random.between(100, 600);
  return {
    kind: 'kill',
    name: `kill ${replica.name}`,
    target: replica.name,
    durationMs: 0,
    isPossible: () => replica.running,
    start: () => replica.kill(afterMs),
  };
}

/** Kills the sender of events. Events that were sent but not marked as sent are sent again. */
const killSender = (system: TestSystem, random: Random): Fault => kill(system, random, 'user-service');

function killDatabase({ databases }: TestSystem, random: Random, name: DatabaseName): Fault {
  const durationMs = random.between(100, 900);
  return {
    kind: 'kill',
    name: `kill the database of ${name} for ${durationMs} ms`,
    target: `database of ${name}`,
    durationMs,
    start: () => databases[name].kill(),
    end: () => databases[name].start(),
  };
}

function killNats({ nats }: TestSystem, random: Random): Fault {
  const durationMs = random.between(100, 900);
  return {
    kind: 'kill',
    name: `kill nats-server for ${durationMs} ms`,
    target: 'nats-server',
    durationMs,
    start: () => nats?.kill(),
    end: () => nats?.start(),
  };
}

function pauseNats({ nats }: TestSystem, random: Random): Fault {
  const durationMs = random.between(500, 2500);
  return {
    kind: 'pause',
    name: `pause nats-server for ${durationMs} ms`,
    target: 'nats-server',
    durationMs,
    start: () => nats?.signal('SIGSTOP'),
    end: () => nats?.signal('SIGCONT'),
  };
}

/** Pauses a replica, usually longer than an event lease. */
function pause({ replicas }: TestSystem, random: Random, service: string): Fault {
  const replica = random.pick(nonEmpty(replicas.filter(({ name }) => name.startsWith(service))));
  const durationMs = random.between(1200, 3000);
  return {
    kind: 'pause',
    name: `pause ${replica.name} for ${durationMs} ms`,
    target: replica.name,
    durationMs,
    isPossible: () => replica.running,
    start: () => replica.pause(),
    end: () => replica.resume(),
  };
}

/** Returns a pattern for the names of the links to each component. Each transport has its own links for events. */
const linkedComponents = ({ transport }: TestSystem): RegExp[] => [
  transport === 'nats' ? /to nats/ : /sink|event recorder/,
  /to database/,
  /to user-service/,
  /to order-service/,
  /^clients/,
  /to database/,
];

/** Cuts all links to a component, or one of them, in the same way. */
function cutLinks({ links }: TestSystem, random: Random, component: RegExp): Fault {
  const candidates = nonEmpty(links.filter(({ name }) => component.test(name)));
  const all = random.chance(0.4);
  const chosen = all ? candidates : [random.pick(candidates)];
  return cutFault(chosen, random.pick(cuts), random.between(300, 1500));
}

/** Loses acknowledgments of events that have arrived, so that they are delivered again. */
function loseAcknowledgments({ links, transport }: TestSystem, random: Random): Fault {
  const chosen = links.filter(({ name }) =>
    transport === 'nats' ? /^order-service \d to nats$/.test(name) : name.endsWith("order-service's sink"),
  );
  // NATS delivers events in server-to-client direction; acknowledgments travel in the other one.
  const cut =
    transport === 'nats' ? 'lose-requests' : random.pick<Cut>(['lose-responses', 'reset-responses']);
  return cutFault(chosen, cut, random.between(400, 900));
}

function cutFault(chosen: readonly Link[], cut: Cut, durationMs: number): Fault {
  return {
    kind: 'cut',
    name: `${cut} for ${durationMs} ms: ${chosen.map(({ name }) => name).join(', ')}`,
    target: chosen.map(({ name }) => name).join(),
    durationMs,
    start() {
      for (const link of chosen) link.cut(cut);
    },
    end() {
      for (const link of chosen) link.heal();
    },
  };
}

function fullDisk(system: TestSystem, random: Random, name: DatabaseName): Fault {
  return switchFault(system, name, {
    name: `disk full at the outbox of ${name}`,
    sql: "insert into faults.switches values ('disk-full', 0) on conflict do nothing",
    durationMs: random.between(300, 1000),
  });
}

/** Makes the handler fail for every third user, long enough that some events become dead letters. */
function failingHandler(system: TestSystem, random: Random): Fault {
  const remainder = random.between(0, 2);
  return switchFault(system, 'orders', {
    name: `the handler fails for users with id % 3 = ${remainder}`,
    sql: `insert into faults.switches values ('failing-handler', ${remainder}) on conflict do nothing`,
    durationMs: random.between(1500, 3000),
  });
}

function switchFault(
  { databases }: TestSystem,
  database: DatabaseName,
  { name, sql, durationMs }: { readonly name: string; readonly sql: string; readonly durationMs: number },
): Fault {
  return {
    kind: 'statement',
    name: `${name} for ${durationMs} ms`,
    target: `statements of ${database}`,
    durationMs,
    // If the database is unavailable, the fault does not start. Its end is retried, because a started fault must end.
    start: () =>
      eventually(
        () => withConnection(databases[database], ({ rows }) => rows(sql)),
        'the start of the fault',
        0,
      ).catch(() => undefined),
    end: () =>
      eventually(() =>
        withConnection(databases[database], ({ rows }) => rows('delete from faults.switches')),
      ),
  };
}

function nonEmpty<T>(items: readonly T[]): readonly [T, ...T[]] {
  if (items.length === 0) throw new Error('the list is empty');
  return items as readonly [T, ...T[]];
}
