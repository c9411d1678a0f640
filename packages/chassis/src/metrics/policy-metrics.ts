import { Counter, Gauge, type Registry } from 'prom-client';

/** What a cache did for a request. */
export type CacheOutcome = 'hit' | 'miss' | 'stale' | 'coalesced' | 'bypass';

/** What came of looking at who asks. */
export type AuthenticationOutcome = 'remembered' | 'verified' | 'anonymous' | 'refused' | 'unavailable';

/** The size of a cache. */
export interface CacheNumbers {
  readonly entries: number;
  readonly bytes: number;
}

/** The numbers of what a gateway decides before it forwards. */
export interface PolicyMetrics {
  /** Counts a request by what came of looking at who asks. */
  authenticated(outcome: AuthenticationOutcome): void;
  /** Counts a request that is refused by a limit. */
  limited(route: string, scope: 'caller' | 'upstream'): void;
  /** Shows whether limits are counted together with other replicas. */
  limitsShared(shared: boolean): void;
  /** Counts a request that is refused because there is too much to do. */
  shed(reason: 'in_flight' | 'event_loop'): void;
  /** Counts a client that is disconnected because it is slow. */
  slowClientDisconnected(
    direction: 'request' | 'response',
    reason: 'rate' | 'total' | 'address' | 'replaced',
  ): void;
  /** Counts a request to a route with a cache. */
  cacheAsked(route: string, outcome: CacheOutcome): void;
  /** Shows a cache; `read` is asked at each scrape. */
  cache(read: () => CacheNumbers): void;
}

export function createPolicyMetrics(registry: Registry): PolicyMetrics {
  const registers = [registry];
  const authenticated = new Counter({
    name: 'authentications_total',
    help: 'Requests by what came of looking at who asks: remembered, verified, anonymous, refused, unavailable.',
    labelNames: ['outcome'],
    registers,
  });
  const limited = new Counter({
    name: 'rate_limited_requests_total',
    help: "Requests that were refused by a limit, by route and scope: the caller's, or that of an upstream.",
    labelNames: ['http_route', 'scope'],
    registers,
  });
  const shed = new Counter({
    name: 'shed_requests_total',
    help: 'Requests that were refused because there was too much to do, by reason: in_flight, event_loop.',
    labelNames: ['reason'],
    registers,
  });
  const slow = new Counter({
    name: 'slow_clients_disconnected_total',
    help: 'Clients that were disconnected because they were slow, by direction (request, response) and reason: rate (below MIN_CLIENT_BYTES_PER_SECOND), total and address (too many of them), replaced (another request needed the slot).',
    labelNames: ['direction', 'reason'],
    registers,
  });
  const asked = new Counter({
    name: 'cache_requests_total',
    help: 'Requests to a route with a cache, by route and outcome: hit, miss, stale, coalesced, bypass.',
    labelNames: ['http_route', 'outcome'],
    registers,
  });
  let shared: boolean | undefined;
  new Gauge({
    name: 'rate_limits_shared',
    help: '1 while limits are counted with other replicas, 0 while each counts by itself; absent without VALKEY_URL.',
    registers,
    collect() {
      if (shared === undefined) this.remove();
      else this.set(shared ? 1 : 0);
    },
  });
  let readCache: (() => CacheNumbers) | undefined;
  new Gauge({
    name: 'cache_entries',
    help: 'Answers in the cache; absent without one.',
    registers,
    collect() {
      if (readCache === undefined) this.remove();
      else this.set(readCache().entries);
    },
  });
  new Gauge({
    name: 'cache_bytes',
    help: 'Bytes of the answers in the cache; absent without one.',
    registers,
    collect() {
      if (readCache === undefined) this.remove();
      else this.set(readCache().bytes);
    },
  });
  return {
    authenticated: (outcome) => authenticated.inc({ outcome }),
    limited: (route, scope) => limited.inc({ http_route: route, scope }),
    limitsShared(now) {
      shared = now;
    },
    shed: (reason) => shed.inc({ reason }),
    slowClientDisconnected: (direction, reason) => slow.inc({ direction, reason }),
    cacheAsked: (route, outcome) => asked.inc({ http_route: route, outcome }),
    cache(read) {
      readCache = read;
    },
  };
}
