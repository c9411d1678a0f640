import { Failure } from '@zerda/chassis/failure';
import { currentContext } from '@zerda/chassis/request-context';

/**
 * Kinds of password work, each with its share of the turns and of the waiting places: a flood of one kind leaves the others
 * theirs. `known-login` is a login from an address where the user has logged in before, `returning-login` one that was refused and
 * has come back after the time it was asked to wait, `sign-up` the password of an anonymous client.
 */
const shares = { 'known-login': 2, 'returning-login': 1, login: 1, 'new-password': 1, 'sign-up': 1 } as const;

export type PasswordWorkKind = keyof typeof shares;

/** Identifies the request that asks for a turn. */
export interface PasswordTurn {
  readonly kind: PasswordWorkKind;
  /**
   * The user, where that is established, or the network of the client address: clients take turns. A known login belongs to its user,
   * since one user can be known at any number of addresses.
   */
  readonly client: string;
}

/** A fair queue for password hashing, which takes CPU and memory that other requests need. */
export interface PasswordQueue {
  /**
   * Runs work when its turn comes. Turns go round robin over the clients of a kind, and by share over the kinds.
   * @throws Failure `login-overloaded` when the queue is full or the wait was too long, `deadline-exceeded` when the request has
   * no time left; in both cases nothing was run
   */
  run<T>(turn: PasswordTurn, work: () => Promise<T>): Promise<T>;
  /**
   * Refuses a request that has no place now, before anything is spent on it.
   * @param kinds of which the request will be one; it passes when one of them has a place
   * @throws Failure `login-overloaded`
   */
  requirePlace(client: string, ...kinds: readonly PasswordWorkKind[]): void;
  /** Whether others take all places of a kind: none is left for a request of this client, and none of its requests has one. */
  isTakenByOthers(turn: PasswordTurn): boolean;
  /** Number of works that run, and that wait. */
  readonly load: { readonly running: number; readonly waiting: number };
}

export interface PasswordQueueOptions {
  /** Works that run at the same time: each hash takes 19 MiB, and a core for some 20 ms. */
  readonly concurrency: number;
  /** Works that wait at most, over all kinds, divided by their shares. */
  readonly capacity: number;
  /**
   * Milliseconds that a work waits at most, 1,500 by default: less than the time after which a circuit breaker counts the
   * service as slow, so that waiting requests never open it.
   */
  readonly maxWaitMs?: number;
}

interface Waiter {
  readonly client: string;
  start(): void;
  reject(): void;
}

/** The waiting works of one kind. */
interface Lane {
  readonly share: number;
  readonly capacity: number;
  size: number;
  /** Smooth weighted round robin: what the lane is owed. */
  credit: number;
  /** Waiters by client, in the order of the clients' next turns. */
  readonly clients: Map<string, Waiter[]>;
}

/**
 * Fair queueing (Nagle, RFC 970): a client waits for one turn of each other client at most, however much another one sends. When
 * a lane is full, the client with the most waiting works loses its newest one to a client with fewer.
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

  function hasPlace({ kind, client }: PasswordTurn): boolean {
    const lane = lanes[kind];
    return running < concurrency || lane.size < lane.capacity || findEvictable(lane, client) !== undefined;
  }

  return {
    isTakenByOthers: (turn) => !hasPlace(turn) && !lanes[turn.kind].clients.has(turn.client),
    async run(turn, work) {
      if (running < concurrency) running += 1;
      // The work that ends hands its slot to the next waiter.
      else await enqueue(turn);
      try {
        if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
        return await work();
      } finally {
        startNext();
      }
    },
    requirePlace(client, ...kinds) {
      if (!kinds.some((kind) => hasPlace({ kind, client }))) throw overloaded();
    },
    get load() {
      return { running, waiting: Object.values(lanes).reduce((sum, { size }) => sum + size, 0) };
    },
  };
}

/** The waiter that makes room for a client with fewer waiting works than the client that has most; undefined when there is none. */
function findEvictable(lane: Lane, client: string): Waiter | undefined {
  const own = lane.clients.get(client)?.length ?? 0;
  let longest: Waiter[] = [];
  for (const waiters of lane.clients.values()) if (waiters.length > longest.length) longest = waiters;
  return longest.length > own + 1 ? longest.at(-1) : undefined;
}

function remove(lane: Lane, waiter: Waiter): void {
  const waiters = lane.clients.get(waiter.client) ?? [];
  const left = waiters.filter((other) => other !== waiter);
  if (left.length === 0) lane.clients.delete(waiter.client);
  else lane.clients.set(waiter.client, left);
  lane.size -= waiters.length - left.length;
}

/** Takes the next waiter out of its lane; undefined when nothing waits. */
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
  // Behind the other clients.
  if (others.length > 0) lane.clients.set(client, others);
  lane.size -= 1;
  return waiter;
}

function overloaded(): Failure {
  return new Failure('login-overloaded', { headers: { 'Retry-After': '1' } });
}
