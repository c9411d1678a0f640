import { setTimeout as wait } from 'node:timers/promises';
import {
  type SteadyLoad,
  type SteadyOutcome,
  type SteadyRequest,
  startSteadyLoad,
} from '../bench/steady-load.ts';

/** Requests that a window waits for, so that a fault is not over before anybody could notice. */
const leastRequests = 1000;

/** Milliseconds after which a window waits no longer for them. */
const longestMs = 60_000;

/** What clients saw between two moments. */
export interface Window {
  readonly title: string;
  /** As `performance.now()` tells. */
  readonly from: number;
  readonly to: number;
  /** All requests that were on their way in it, also those that began before it or ended after it. */
  readonly outcomes: readonly SteadyOutcome[];
  readonly failed: readonly SteadyOutcome[];
}

/** A row that was acknowledged to a client: its id, and the text in it that no other request has sent. */
export interface Acknowledged {
  readonly id: number;
  readonly mark: string;
}

export interface ClientsOptions {
  /** Host and port of the ingress controller. */
  readonly address: string;
  /** Name that the Ingress is for. */
  readonly hostName: string;
  readonly perSecond: number;
  /** Access token that they show; none by default. */
  readonly token?: string;
}

/** Many clients that know nothing of each other, none of which repeats a request. */
export interface Clients {
  /** Text that the marks of all their rows begin with. */
  readonly marks: string;
  readonly acknowledged: {
    readonly users: readonly Acknowledged[];
    readonly orders: readonly Acknowledged[];
  };
  /** Requests a second, until it is set anew. */
  setPace(perSecond: number): void;
  /** Begins a window. Windows may overlap: a request that failed counts in each that it was on its way in. */
  open(title: string): {
    /** Waits for `least` requests, by default 1,000, but no longer than a minute from the beginning of the window. */
    close(least?: number): Promise<Window>;
  };
  stop(): Promise<void>;
}

/**
 * A request has failed when there was no whole answer to it, or another one than 2xx: none of these requests has a fault of
 * its own.
 */
function hasFailed({ status }: SteadyOutcome): boolean {
  return status === undefined || status < 200 || status > 299;
}

/**
 * Half of the requests read, half write with an Idempotency-Key, and a tenth of either is on a connection of its own. The
 * writes make users, and orders of users that were acknowledged before.
 */
export function startClients({ address, hostName, perSecond, token }: ClientsOptions): Clients {
  const { hostname: host, port } = new URL(`http://${address}`);
  const own = { host: hostName, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
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
        ? ['/api/users', { name: 'Somebody', email: `${mark}@example.com` }]
        : ['/api/orders', { user_id: someUser(index), product: mark, quantity: 1, total: 9.5 }];
    const headers = { 'content-type': 'application/json', 'idempotency-key': mark };
    return { method: 'POST', path, headers, body: JSON.stringify(row) };
  }

  function markOf(index: number): string {
    return `${marks}${index}`;
  }

  const load: SteadyLoad = startSteadyLoad({
    ...{ host, port: Number(port || 80), perSecond },
    request(index) {
      const chosen = isRead(index) ? read(index) : write(index);
      const ownConnection = index % 20 === 0 || index % 20 === 11;
      return { ...chosen, headers: { ...chosen.headers, ...own }, ownConnection };
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
        async close(least = leastRequests) {
          const seen = (): readonly SteadyOutcome[] => outcomes.filter(({ endedAt }) => endedAt >= from);
          while (seen().length < least && performance.now() - from < longestMs) await wait(100);
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
