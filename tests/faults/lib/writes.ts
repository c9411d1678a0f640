import { Agent } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { backoffMs } from '../../../packages/chassis/src/backoff.ts';
import { type HttpRequest, sendRequest } from '../../../packages/chassis/testing/http.ts';
import type { Random } from './random.ts';

/** A write of a client, with its attempts and final response. */
export interface Write {
  readonly kind:
    | 'create-user'
    | 'update-user'
    | 'delete-user'
    | 'place-order'
    | 'change-status'
    | 'cancel-order';
  /** Unique text: the name of a user or the product of an order; undefined for writes without one. */
  readonly mark?: string;
  /** Id of the changed user or order; for a new order, of its user. */
  readonly target?: number;
  /** Version in `If-Match`. */
  readonly ifMatch?: number;
  /** Requested status of an order. */
  readonly status?: string;
  attempts: number;
  /** Results of the failed attempts: problem codes, statuses or network errors. */
  readonly failures: string[];
  /** Final response; undefined if there was none before the client gave up. */
  response?: Response;
}

export interface Response {
  readonly status: number;
  /** Code of the problem, if the response is one. */
  readonly problem?: string;
  /** Id, version and status of the returned user or order, if it has them. */
  readonly id?: number;
  readonly version?: number;
  readonly orderStatus?: string;
  readonly replayed: boolean;
}

/** Whether the write has a 2xx response. */
export function isAcknowledged({ response }: Write): boolean {
  return response !== undefined && response.status < 300;
}

/** Clients of the gateways. */
export interface Clients {
  readonly writes: readonly Write[];
  /** Number of requests that wait for a response. */
  readonly inFlight: number;
  /** Number of writes without a final response, including those that wait for a retry. */
  readonly pending: number;
  /** Starts random writes at the same time, mostly on the newest users and orders. */
  startWrites(count: number): void;
  /** Resolves when every write has a response or its client has given up after `deadlineMs`. */
  waitForResponses(deadlineMs: number): Promise<void>;
}

/** Statuses that clients retry. The Idempotency-Key of a POST prevents a second effect. */
const retryableStatuses = new Set([408, 429, 500, 502, 503, 504]);
/** Timeout of a request in milliseconds. */
const requestTimeoutMs = 4000;
/** Number of newest users and orders that most writes change, so that concurrent changes of one of them occur. */
const hotRows = 6;

/** A user or order whose creation was acknowledged. */
interface KnownRow {
  readonly id: number;
  version: number;
}

export interface ClientOptions {
  readonly gateways: readonly string[];
  readonly random: Random;
  /** Prefix of the marks. */
  readonly prefix: string;
  /** Additional headers of every request; default none. */
  readonly headers?: Readonly<Record<string, string>>;
}

export function createClients({
  gateways,
  random,
  prefix,
  headers: commonHeaders = {},
}: ClientOptions): Clients {
  const writes: Write[] = [];
  const users: KnownRow[] = [];
  const orders: (KnownRow & { status: string })[] = [];
  const running = new Set<Promise<void>>();
  const agent = new Agent({ keepAlive: false });
  let inFlight = 0;
  let giveUpAt = Number.POSITIVE_INFINITY;

  /** Picks one of the newest rows with a probability of 0.8, otherwise any row. */
  function pick<T>(rows: readonly T[]): T | undefined {
    const newest = rows.slice(-hotRows);
    const pool = random.chance(0.8) ? newest : rows;
    return pool[random.between(0, pool.length - 1)];
  }

  function chooseWrite(): Write {
    const mark = `${prefix}-${writes.length}`;
    const die = random.next();
    const user = pick(users);
    const order = pick(orders);
    if (user === undefined || die < 0.18) return { kind: 'create-user', mark, attempts: 0, failures: [] };
    if (die < 0.48) {
      const ifMatch = random.chance(0.3) ? { ifMatch: user.version } : {};
      return { kind: 'update-user', mark, target: user.id, ...ifMatch, attempts: 0, failures: [] };
    }
    if (die < 0.54 && users.length > hotRows) {
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
      const response = await attempt(write, key).catch(
        (error: Error) => void write.failures.push(error.message),
      );
      const isRetryable =
        response === undefined ||
        retryableStatuses.has(response.status) ||
        response.problem === 'idempotency-key-in-use';
      if (!isRetryable) {
        write.response = response;
        updateKnownRows(write, response);
        return;
      }
      if (response !== undefined) write.failures.push(response.problem ?? String(response.status));
      if (performance.now() > giveUpAt) return;
      await wait(backoffMs(write.attempts, { baseMs: 200, maxMs: 1500 }));
    }
  }

  async function attempt(write: Write, key: string): Promise<Response> {
    const url = gateways[Math.floor(Math.random() * gateways.length)] as string;
    inFlight += 1;
    try {
      return await send(`${url}${pathOf(write)}`, {
        method: methodOf(write),
        json: bodyOf(write),
        headers: {
          ...commonHeaders,
          ...(methodOf(write) === 'POST' && { 'idempotency-key': key }),
          ...(write.ifMatch !== undefined && { 'if-match': `"${write.ifMatch}"` }),
        },
      });
    } finally {
      inFlight -= 1;
    }
  }

  async function send(url: string, options: HttpRequest): Promise<Response> {
    const { status, headers, body } = await sendRequest(url, {
      ...options,
      agent,
      timeoutMs: requestTimeoutMs,
    });
    const { etag, 'idempotency-replayed': replayed } = headers;
    return {
      status,
      ...(typeof body.type === 'string' && { problem: body.type.replace('/problems/', '') }),
      ...(body.data?.id !== undefined && { id: body.data.id }),
      ...(body.data?.status !== undefined && { orderStatus: body.data.status }),
      ...(etag !== undefined && { version: Number(etag.replaceAll('"', '')) }),
      replayed: replayed === 'true',
    };
  }

  /** Updates the known users and orders, which later writes use. */
  function updateKnownRows(
    { kind, target }: Write,
    { status, id, version = 0, orderStatus }: Response,
  ): void {
    if (status >= 300) {
      if (kind === 'place-order' && status === 422) removeRow(users, target);
      if (status === 409) removeRow(orders, target);
      if (status === 404) removeRow(kind === 'update-user' ? users : orders, target);
      return;
    }
    if (kind === 'create-user' && id !== undefined) users.push({ id, version });
    if (kind === 'place-order' && id !== undefined) orders.push({ id, version, status: orderStatus ?? '' });
    const user = kind === 'update-user' ? users.find(({ id }) => id === target) : undefined;
    if (user !== undefined) user.version = Math.max(user.version, version);
    const order = kind === 'change-status' ? orders.find(({ id }) => id === target) : undefined;
    if (order !== undefined) order.status = orderStatus ?? '';
    if (kind === 'cancel-order') removeRow(orders, target);
  }

  return {
    writes,
    get inFlight() {
      return inFlight;
    },
    get pending() {
      return running.size;
    },
    startWrites(count) {
      for (let index = 0; index < count; index += 1) {
        const write = chooseWrite();
        writes.push(write);
        const done = carryOut(write, `${prefix}-${writes.length}`);
        running.add(done);
        void done.then(() => running.delete(done));
      }
    },
    async waitForResponses(deadlineMs) {
      giveUpAt = performance.now() + deadlineMs;
      await Promise.all(running);
      agent.destroy();
    },
  };
}

function removeRow(rows: KnownRow[], id: number | undefined): void {
  const index = rows.findIndex((row) => row.id === id);
  if (index >= 0) rows.splice(index, 1);
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
