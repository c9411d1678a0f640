import { Counter, Gauge, type Registry } from 'prom-client';

/** Outcome of a cache lookup. */
export type CacheOutcome = 'hit' | 'miss' | 'stale' | 'coalesced' | 'bypass';

/** Outcome of authentication; `remembered` means that the token was in the cache. */
export type AuthenticationOutcome = 'remembered' | 'verified' | 'anonymous' | 'refused' | 'unavailable';

/** Size of a cache. */
export interface CacheNumbers {
  readonly entries: number;
  readonly bytes: number;
  readonly maxBytes: number;
}

/** Metrics of the policies that a gateway applies before it forwards a request. */
export interface PolicyMetrics {
  /** Counts a request by the outcome of its authentication. */
  authenticated(outcome: AuthenticationOutcome): void;
  /** Counts a request that a rate limit rejects. @param route path pattern, `preflight` or `unmatched` */
  limited(route: string, scope: 'caller' | 'upstream'): void;
  /** Sets whether rate limits are shared with other replicas. */
  limitsShared(shared: boolean): void;
  /** Counts a request that is rejected because of overload. */
  shed(reason: 'in_flight' | 'event_loop'): void;
  /** Counts a client that is disconnected because it sends or reads too slowly. */
  slowClientDisconnected(
    direction: 'request' | 'response',
    reason: 'rate' | 'total' | 'address' | 'replaced',
  ): void;
  /** Counts a request to a cached route. */
  cacheRequest(route: string, outcome: CacheOutcome): void;
  /** Exports the size of the cache; `read` is called at each scrape. */
  cache(read: () => CacheNumbers): void;
}

/** Creates the metrics of the policies in a registry. */
export function createPolicyMetrics(registry: Registry): PolicyMetrics {
  const registers = [registry];
  const authenticated = new Counter({
    name: 'authentications_total',
    help: 'Authentications by outcome: remembered (token cached), verified, anonymous, refused, unavailable.',
    labelNames: ['outcome'],
    registers,
  });
  const limited = new Counter({
    name: 'rate_limited_requests_total',
    help: 'Requests rejected by a rate limit, by route (preflight and unmatched for those limits) and scope (caller, upstream).',
    labelNames: ['http_route', 'scope'],
    registers,
  });
  const shed = new Counter({
    name: 'shed_requests_total',
    help: 'Requests rejected because of overload, by reason: in_flight, event_loop.',
    labelNames: ['reason'],
    registers,
  });
  const slow = new Counter({
    name: 'slow_clients_disconnected_total',
    help: 'Slow clients that were disconnected, by direction (request, response) and reason: rate (below MIN_CLIENT_BYTES_PER_SECOND), total or address (too many slow clients), replaced (another request needed the slot).',
    labelNames: ['direction', 'reason'],
    registers,
  });
  const cacheRequests = new Counter({
    name: 'cache_requests_total',
    help: 'Requests to cached routes, by route and outcome: hit, miss, stale, coalesced, bypass.',
    labelNames: ['http_route', 'outcome'],
    registers,
  });
  let shared: boolean | undefined;
  new Gauge({
    name: 'rate_limits_shared',
    help: '1 while rate limits are shared with other replicas, 0 while each replica counts alone; absent without VALKEY_URL.',
    registers,
    collect() {
      if (shared === undefined) this.remove();
      else this.set(shared ? 1 : 0);
    },
  });
  let readCache: (() => CacheNumbers) | undefined;
  new Gauge({
    name: 'cache_entries',
    help: 'Responses in the cache; absent without a cache.',
    registers,
    collect() {
      if (readCache === undefined) this.remove();
      else this.set(readCache().entries);
    },
  });
  new Gauge({
    name: 'cache_bytes',
    help: 'Size of the responses in the cache in bytes; absent without a cache.',
    registers,
    collect() {
      if (readCache === undefined) this.remove();
      else this.set(readCache().bytes);
    },
  });
  new Gauge({
    name: 'cache_max_bytes',
    help: 'Maximum size of the responses in the cache in bytes; absent without a cache.',
    registers,
    collect() {
      if (readCache === undefined) this.remove();
      else this.set(readCache().maxBytes);
    },
  });
  // Exported as 0 from the start: otherwise `rate()` misses the first request.
  for (const outcome of ['remembered', 'verified', 'anonymous', 'refused', 'unavailable']) {
    authenticated.inc({ outcome }, 0);
  }
  for (const reason of ['in_flight', 'event_loop']) shed.inc({ reason }, 0);
  for (const direction of ['request', 'response']) {
    for (const reason of ['rate', 'total', 'address', 'replaced']) slow.inc({ direction, reason }, 0);
  }
  return {
    authenticated: (outcome) => authenticated.inc({ outcome }),
    limited: (route, scope) => limited.inc({ http_route: route, scope }),
    limitsShared(isShared) {
      shared = isShared;
    },
    shed: (reason) => shed.inc({ reason }),
    slowClientDisconnected: (direction, reason) => slow.inc({ direction, reason }),
    cacheRequest: (route, outcome) => cacheRequests.inc({ http_route: route, outcome }),
    cache(read) {
      readCache = read;
    },
  };
}
