import { Failure } from '@zerda/chassis/failure';
import { currentContext } from '@zerda/chassis/request-context';
import { inSpan } from '@zerda/chassis/tracing/in-span';

/**
 * Kinds of password work with their shares of the turns and of the queue, so that a flood of one kind does not block the others.
 * `known-login`: a login from a known address of the user. `returning-login`: a login that was rejected and retried after
 * Retry-After. `sign-up`: the password of an anonymous client.
 */
const shares = { 'known-login': 2, 'returning-login': 1, login: 1, 'new-password': 1, 'sign-up': 1 } as const;

export type PasswordWorkKind = keyof typeof shares;

/** Kind and client of a request in the queue. */
export interface PasswordTurn {
  readonly kind: PasswordWorkKind;
  /**
   * The user, if verified, or the network of the client address. Turns rotate among clients. A known login counts for its user,
   * because a user can have many known addresses.
   */
  readonly client: string;
}

/** Fair queue for password hashing, which limits its CPU and memory usage. */
export interface PasswordQueue {
  /**
   * Runs the work when its turn comes. Turns are round robin among the clients of a kind and weighted by share among the kinds.
   * @throws Failure `login-overloaded` if the queue is full or the wait takes too long, `deadline-exceeded` if the deadline has passed;
   * in both cases the work does not run
   */
  run<T>(turn: PasswordTurn, work: () => Promise<T>): Promise<T>;
  /**
   * Rejects a request that the queue cannot accept now, before any other work.
   * @param kinds possible kinds of the request; one of them must have capacity
   * @throws Failure `login-overloaded`
   */
  requireCapacity(client: string, ...kinds: readonly PasswordWorkKind[]): void;
  /** Returns whether other clients occupy the whole queue of a kind: no capacity for this client, and none of its requests waits. */
  isFullForClient(turn: PasswordTurn): boolean;
  /** Number of running and waiting requests. */
  readonly load: { readonly running: number; readonly waiting: number };
  /** Maximum number of waiting tasks. */
  readonly capacity: number;
}

export interface PasswordQueueOptions {
  /** Maximum number of concurrent hashes. Each one uses 19 MiB and about 20 ms of CPU time. */
  readonly concurrency: number;
  /** Maximum number of waiting requests of all kinds, divided by share. */
  readonly capacity: number;
  /**
   * Maximum wait in milliseconds; 1,500 by default. It is shorter than the latency that a circuit breaker counts as a failure, so
   * waiting requests do not open it.
   */
  readonly maxWaitMs?: number;
}

interface Waiter {
  readonly client: string;
  start(): void;
  reject(): void;
}

/** Waiting requests of one kind. */
interface Lane {
  readonly share: number;
  readonly capacity: number;
  size: number;
  /** Current weight of the smooth weighted round robin. */
  credit: number;
  /** Waiters by client, in the order of the next turns of the clients. */
  readonly clients: Map<string, Waiter[]>;
}

/**
 * Creates a fair queue (Nagle, RFC 970): a client waits for at most one turn of each other client, regardless of their load. If a lane
 * is full, a request of a client with fewer waiting requests evicts the newest request of the client with the most.
 */
export function createPasswordQueue({
  concurrency,
  capacity,
  maxWaitMs = 1500,
}: PasswordQueueOptions): PasswordQueue {
  const totalShare = Object.values(shares).reduce((sum, share) => sum + share, 0);
  const lanes = Object.fromEntries(
    Object.entries(shares).map(([kind, share]): [string, Lane] => [
      kind,
      { share, capacity: Math.ceil((capacity * share) / totalShare), size: 0, credit: 0, clients: new Map() },
    ]),
  ) as Record<PasswordWorkKind, Lane>;
  let running = 0;

  function enqueue({ kind, client }: PasswordTurn): Promise<void> {
    const lane = lanes[kind];
    if (lane.size >= lane.capacity) {
      const evicted = findEvictable(lane, client);
      if (evicted === undefined) throw overloaded();
      remove(lane, evicted);
      evicted.reject();
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        remove(lane, waiter);
        waiter.reject();
      }, maxWaitMs);
      const waiter: Waiter = {
        client,
        start() {
          clearTimeout(timer);
          resolve();
        },
        reject() {
          clearTimeout(timer);
          reject(overloaded());
        },
      };
      lane.clients.set(client, [...(lane.clients.get(client) ?? []), waiter]);
      lane.size += 1;
    });
  }

  function startNext(): void {
    const waiter = takeNext(Object.values(lanes));
    if (waiter === undefined) running -= 1;
    else waiter.start();
  }

  function hasCapacity({ kind, client }: PasswordTurn): boolean {
    const lane = lanes[kind];
    return running < concurrency || lane.size < lane.capacity || findEvictable(lane, client) !== undefined;
  }

  return {
    isFullForClient: (turn) => !hasCapacity(turn) && !lanes[turn.kind].clients.has(turn.client),
    run(turn, work) {
      return inSpan(
        'password',
        () => ({ name: `password ${turn.kind}`, attributes: { 'zerda.password.kind': turn.kind } }),
        async (span) => {
          if (running < concurrency) running += 1;
          // Finished work hands its slot to the next waiter.
          else await enqueue(turn);
          span?.addEvent('hash started');
          try {
            if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
            return await work();
          } finally {
            startNext();
          }
        },
      );
    },
    requireCapacity(client, ...kinds) {
      if (!kinds.some((kind) => hasCapacity({ kind, client }))) throw overloaded();
    },
    capacity,
    get load() {
      return { running, waiting: Object.values(lanes).reduce((sum, { size }) => sum + size, 0) };
    },
  };
}

/** Returns the newest waiter of the client with the most waiters, if that client has more than this one; otherwise undefined. */
function findEvictable(lane: Lane, client: string): Waiter | undefined {
  const waiterCount = lane.clients.get(client)?.length ?? 0;
  let longest: Waiter[] = [];
  for (const waiters of lane.clients.values()) if (waiters.length > longest.length) longest = waiters;
  return longest.length > waiterCount + 1 ? longest.at(-1) : undefined;
}

function remove(lane: Lane, waiter: Waiter): void {
  const waiters = lane.clients.get(waiter.client) ?? [];
  const remaining = waiters.filter((other) => other !== waiter);
  if (remaining.length === 0) lane.clients.delete(waiter.client);
  else lane.clients.set(waiter.client, remaining);
  lane.size -= waiters.length - remaining.length;
}

/** Removes the next waiter from its lane and returns it; undefined if no request waits. */
function takeNext(lanes: readonly Lane[]): Waiter | undefined {
  const busy = lanes.filter(({ size }) => size > 0);
  const total = busy.reduce((sum, { share }) => sum + share, 0);
  let lane: Lane | undefined;
  for (const each of busy) {
    each.credit += each.share;
    if (lane === undefined || each.credit > lane.credit) lane = each;
  }
  if (lane === undefined) return undefined;
  lane.credit -= total;
  const [client, waiters] = lane.clients.entries().next().value ?? [];
  const [waiter, ...others] = waiters ?? [];
  if (client === undefined || waiter === undefined) return undefined;
  lane.clients.delete(client);
  // The client moves behind the other clients.
  if (others.length > 0) lane.clients.set(client, others);
  lane.size -= 1;
  return waiter;
}

function overloaded(): Failure {
  return new Failure('login-overloaded', { retryAfterSeconds: 1 });
}
