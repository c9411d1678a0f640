import { setTimeout as wait } from 'node:timers/promises';
import {
  type SteadyLoad,
  type SteadyOutcome,
  type SteadyRequest,
  startSteadyLoad,
} from '../bench/steady-load.ts';

/** Minimum number of requests of a window, so that a short fault affects some of them. */
const minRequests = 600;

/** Maximum duration of a window in milliseconds, even with fewer requests. */
const maxWindowMs = 60_000;

/** Outcomes of the requests between two points in time. */
export interface Window {
  readonly title: string;
  /** Start, in milliseconds of `performance.now()`. */
  readonly from: number;
  /** End, in milliseconds of `performance.now()`. */
  readonly to: number;
  /** All requests that were in flight during the window, including those that started before it or ended after it. */
  readonly outcomes: readonly SteadyOutcome[];
  readonly failed: readonly SteadyOutcome[];
}

/** A row of an acknowledged write: its id, and a text in it that no other request has sent. */
export interface Acknowledged {
  readonly id: number;
  readonly mark: string;
}

export interface ClientsOptions {
  /** Host and port of the ingress controller. */
  readonly address: string;
  /** Host name of the Ingress. */
  readonly hostName: string;
  readonly perSecond: number;
  /** Access token of the requests; none by default. */
  readonly token?: string;
}

/** Independent clients that do not retry requests. */
export interface Clients {
  /** Prefix of the marks of all their rows. */
  readonly marks: string;
  readonly acknowledged: {
    readonly users: readonly Acknowledged[];
    readonly orders: readonly Acknowledged[];
  };
  /** Sets the number of requests a second. */
  setPace(perSecond: number): void;
  /** Starts a window. Windows may overlap: a failed request counts in each window in which it was in flight. */
  open(title: string): {
    /** Waits for `minimum` requests, default 600, but at most until a minute after the start of the window, and ends the window. */
    close(minimum?: number): Promise<Window>;
  };
  stop(): Promise<void>;
}

/** Whether there was no complete response, or one with a status other than 2xx. All requests of the clients are valid. */
function hasFailed({ status }: SteadyOutcome): boolean {
  return status === undefined || status < 200 || status > 299;
}

/**
 * Starts the clients. Half of the requests are reads, half are writes with an Idempotency-Key, and a tenth of each uses a new
 * connection. The writes create users, and orders of users whose creation was acknowledged.
 */
export function startClients({ address, hostName, perSecond, token }: ClientsOptions): Clients {
  const { hostname: host, port } = new URL(`http://${address}`);
  const commonHeaders = { host: hostName, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  const marks = `load-${Date.now()}-`;
  const outcomes: SteadyOutcome[] = [];
  const users: Acknowledged[] = [];
  const orders: Acknowledged[] = [];

  function someUser(index: number): number {
    return users.length === 0 ? 1 : (users[(index * 7919) % users.length]?.id ?? 1);
  }

  function read(index: number): SteadyRequest {
    const paths = [
      `/api/users/${someUser(index)}`,
      `/api/users/${someUser(index)}/profile`,
      '/api/users?limit=10',
      `/api/orders/user/${someUser(index)}`,
      '/api/dashboard',
    ];
    return { path: paths[(index / 2) % paths.length] ?? '' };
  }

  function write(index: number): SteadyRequest {
    const mark = markOf(index);
    const [path, row] =
      kindOf(index) === 'users'
        ? ['/api/users', { name: 'Load Test', email: `${mark}@example.com` }]
        : ['/api/orders', { user_id: someUser(index), product: mark, quantity: 1, total: 9.5 }];
    const headers = { 'content-type': 'application/json', 'idempotency-key': mark };
    return { method: 'POST', path, headers, body: JSON.stringify(row) };
  }

  function markOf(index: number): string {
    return `${marks}${index}`;
  }

  const load: SteadyLoad = startSteadyLoad({
    host,
    port: Number(port || 80),
    perSecond,
    request(index) {
      const chosen = isRead(index) ? read(index) : write(index);
      const ownConnection = index % 20 === 0 || index % 20 === 11;
      return { ...chosen, headers: { ...chosen.headers, ...commonHeaders }, ownConnection };
    },
    onOutcome(outcome, index) {
      outcomes.push({ ...outcome, text: hasFailed(outcome) ? outcome.text : '' });
      if (isRead(index) || hasFailed(outcome)) return;
      const { id } = JSON.parse(outcome.text).data as { id: number };
      (kindOf(index) === 'users' ? users : orders).push({ id, mark: markOf(index) });
    },
  });

  return {
    marks,
    acknowledged: { users, orders },
    setPace: load.setPace,
    stop: load.stop,
    open(title) {
      const from = performance.now();
      return {
        async close(minimum = minRequests) {
          const ended = (): readonly SteadyOutcome[] => outcomes.filter(({ endedAt }) => endedAt >= from);
          while (ended().length < minimum && performance.now() - from < maxWindowMs) await wait(100);
          const to = performance.now();
          await load.settle();
          const inside = outcomes.filter(({ sentAt, endedAt }) => endedAt >= from && sentAt <= to);
          return { title, from, to, outcomes: inside, failed: inside.filter(hasFailed) };
        },
      };
    },
  };
}

function isRead(index: number): boolean {
  return index % 2 === 0;
}

function kindOf(index: number): 'users' | 'orders' {
  return index % 4 === 1 ? 'users' : 'orders';
}
