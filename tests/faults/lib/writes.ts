import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from './random.ts';

/** What a client asked for, and what it was told in the end. */
export interface Write {
  readonly kind:
    | 'create-user'
    | 'update-user'
    | 'delete-user'
    | 'place-order'
    | 'change-status'
    | 'cancel-order';
  /** Text that nothing else has: the name of a user, or the product of an order; undefined for what stores none. */
  readonly mark?: string;
  /** The user or order that is changed; of a new order its user. */
  readonly target?: number;
  /** Version that `If-Match` named. */
  readonly ifMatch?: number;
  /** Status that an order was to have. */
  readonly status?: string;
  attempts: number;
  /** How each attempt before the last ended: a problem, or that there was no answer. */
  readonly failures: string[];
  /** The answer that ended it; undefined when none came before the client lost its patience. */
  answer?: Answer;
}

export interface Answer {
  readonly status: number;
  /** Code of the problem, where it is one. */
  readonly problem?: string;
  /** Id, version and status of what is answered, where it has them. */
  readonly id?: number;
  readonly version?: number;
  readonly orderStatus?: string;
  readonly replayed: boolean;
}

/** Whether the client was told that it is done. */
export function isAcknowledged({ answer }: Write): boolean {
  return answer !== undefined && answer.status < 300;
}

/** Clients of the gateways. */
export interface Clients {
  readonly writes: readonly Write[];
  /** Requests that wait for their answer at this moment. */
  readonly inFlight: number;
  /** Writes that have not got their answer yet, those between two attempts too. */
  readonly open: number;
  /** Begins so many writes at once, of all kinds and mostly of the newest users and orders. */
  volley(size: number): void;
  /** Resolves when every write has its answer, or its client has lost its patience after `deadlineMs`. */
  settled(deadlineMs: number): Promise<void>;
}

/** Statuses after which a good client asks again: with the key a POST has, that cannot do it twice. */
const passing = new Set([408, 429, 500, 502, 503, 504]);
/** Milliseconds that a client waits for one answer. */
const patienceMs = 4000;
/** Users and orders that are changed most: two changes must meet to show that their order is held. */
const favourites = 6;

interface Known {
  readonly id: number;
  version: number;
}

export interface ClientOptions {
  readonly gateways: readonly string[];
  readonly random: Random;
  /** What marks begin with. */
  readonly prefix: string;
  /** Headers of every request; none by default. */
  readonly headers?: Readonly<Record<string, string>>;
}

export function createClients({ gateways, random, prefix, headers: always = {} }: ClientOptions): Clients {
  const writes: Write[] = [];
  const users: Known[] = [];
  const orders: (Known & { status: string })[] = [];
  const running = new Set<Promise<void>>();
  const agent = new Agent({ keepAlive: false });
  let inFlight = 0;
  let patientUntil = Number.POSITIVE_INFINITY;

  /** Mostly one of the newest. */
  function pick<T>(from: readonly T[]): T | undefined {
    const newest = from.slice(-favourites);
    const pool = random.chance(0.8) ? newest : from;
    return pool[random.between(0, pool.length - 1)];
  }

  function plan(): Write {
    const mark = `${prefix}-${writes.length}`;
    const die = random.next();
    const user = pick(users);
    const order = pick(orders);
    if (user === undefined || die < 0.18) return { kind: 'create-user', mark, attempts: 0, failures: [] };
    if (die < 0.48) {
      const ifMatch = random.chance(0.3) ? { ifMatch: user.version } : {};
      return { kind: 'update-user', mark, target: user.id, ...ifMatch, attempts: 0, failures: [] };
    }
    if (die < 0.54 && users.length > favourites) {
      users.splice(users.indexOf(user), 1);
      return { kind: 'delete-user', target: user.id, attempts: 0, failures: [] };
    }
    if (order === undefined || die < 0.8)
      return { kind: 'place-order', mark, target: user.id, attempts: 0, failures: [] };
    if (die < 0.93) {
      const status = { pending: 'processing', processing: 'shipped', shipped: 'completed' }[order.status];
      if (status !== undefined)
        return { kind: 'change-status', target: order.id, status, attempts: 0, failures: [] };
    }
    return { kind: 'cancel-order', target: order.id, attempts: 0, failures: [] };
  }

  async function carryOut(write: Write, key: string): Promise<void> {
    for (;;) {
      write.attempts += 1;
      const answer = await attempt(write, key).catch(
        (error: Error) => void write.failures.push(error.message),
      );
      const again =
        answer === undefined || passing.has(answer.status) || answer.problem === 'idempotency-key-in-use';
      if (!again) {
        write.answer = answer;
        learn(write, answer);
        return;
      }
      if (answer !== undefined) write.failures.push(answer.problem ?? String(answer.status));
      if (performance.now() > patientUntil) return;
      await wait(Math.min(1500, 100 * 2 ** Math.min(write.attempts, 4)) * (0.5 + Math.random() / 2));
    }
  }

  async function attempt(write: Write, key: string): Promise<Answer> {
    const url = gateways[Math.floor(Math.random() * gateways.length)] as string;
    inFlight += 1;
    try {
      return await send(`${url}${pathOf(write)}`, methodOf(write), bodyOf(write), {
        ...(methodOf(write) === 'POST' && { 'idempotency-key': key }),
        ...(write.ifMatch !== undefined && { 'if-match': `"${write.ifMatch}"` }),
      });
    } finally {
      inFlight -= 1;
    }
  }

  function send(
    url: string,
    method: string,
    body: unknown,
    headers: Record<string, string>,
  ): Promise<Answer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const asked = request(
        url,
        {
          method,
          agent,
          headers: {
            ...always,
            ...headers,
            ...(text !== undefined && { 'content-type': 'application/json' }),
          },
          signal: AbortSignal.timeout(patienceMs),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('close', () => {
            if (!response.complete) return reject(new Error('the answer broke off'));
            try {
              const { etag, 'idempotency-replayed': replayed } = response.headers;
              const read = JSON.parse(Buffer.concat(chunks).toString('utf8'));
              resolve({
                status: response.statusCode ?? 0,
                ...(typeof read.type === 'string' && { problem: read.type.replace('/problems/', '') }),
                ...(read.data?.id !== undefined && { id: read.data.id }),
                ...(read.data?.status !== undefined && { orderStatus: read.data.status }),
                ...(etag !== undefined && { version: Number(etag.replaceAll('"', '')) }),
                replayed: replayed === 'true',
              });
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      asked.on('error', reject);
      asked.end(text);
    });
  }

  /** What the answer tells of users and orders, for the writes to come. */
  function learn({ kind, target }: Write, { status, id, version = 0, orderStatus }: Answer): void {
    if (status >= 300) {
      if (kind === 'place-order' && status === 422) forget(users, target);
      if (status === 409) forget(orders, target);
      if (status === 404) forget(kind === 'update-user' ? users : orders, target);
      return;
    }
    if (kind === 'create-user' && id !== undefined) users.push({ id, version });
    if (kind === 'place-order' && id !== undefined) orders.push({ id, version, status: orderStatus ?? '' });
    const changed = kind === 'update-user' ? users.find((user) => user.id === target) : undefined;
    if (changed !== undefined) changed.version = Math.max(changed.version, version);
    const moved = kind === 'change-status' ? orders.find((order) => order.id === target) : undefined;
    if (moved !== undefined) moved.status = orderStatus ?? '';
    if (kind === 'cancel-order') forget(orders, target);
  }

  return {
    writes,
    get inFlight() {
      return inFlight;
    },
    get open() {
      return running.size;
    },
    volley(size) {
      for (let count = 0; count < size; count += 1) {
        const write = plan();
        writes.push(write);
        const done = carryOut(write, `${prefix}-${writes.length}`);
        running.add(done);
        void done.then(() => running.delete(done));
      }
    },
    async settled(deadlineMs) {
      patientUntil = performance.now() + deadlineMs;
      await Promise.all(running);
      agent.destroy();
    },
  };
}

function forget(known: Known[], id: number | undefined): void {
  const index = known.findIndex((one) => one.id === id);
  if (index >= 0) known.splice(index, 1);
}

function methodOf({ kind }: Write): 'POST' | 'PUT' | 'DELETE' {
  if (kind === 'create-user' || kind === 'place-order') return 'POST';
  return kind === 'update-user' || kind === 'change-status' ? 'PUT' : 'DELETE';
}

function pathOf({ kind, target }: Write): string {
  if (kind === 'create-user') return '/api/users';
  if (kind === 'place-order') return '/api/orders';
  if (kind === 'change-status') return `/api/orders/${target}/status`;
  return `/api/${kind === 'cancel-order' ? 'orders' : 'users'}/${target}`;
}

function bodyOf({ kind, mark, target, status }: Write): unknown {
  if (kind === 'create-user') return { name: mark, email: `${mark}@example.com` };
  if (kind === 'update-user') return { name: mark };
  if (kind === 'place-order') return { user_id: target, product: mark, quantity: 1, total: 12.5 };
  return kind === 'change-status' ? { status } : undefined;
}
