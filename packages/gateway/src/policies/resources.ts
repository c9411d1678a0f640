import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import type { ResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { ResponseCache } from '../cache/response-cache.ts';
import type { ForwardedHeaders, SecureLookup } from '../headers/forwarded-headers.ts';
import type { RequestCounters } from '../limits/request-counters.ts';
import type { PolicyMetrics } from '../metrics/policy-metrics.ts';
import type { LoadMonitor } from '../overload/load-monitor.ts';

/** Dependencies that a policy can name, shared by all routes. */
export interface PolicyResources {
  readonly metrics: PolicyMetrics;
  /** For debug lines. A policy passes the ids of the request, because requests of routes have no current context. */
  readonly logger: Logger;
  /** Verifies tokens; `off` if every client has all rights. */
  readonly authentication: Authentication;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  /** Counts requests against rate limits. */
  readonly counters: RequestCounters;
  readonly load: LoadMonitor;
  readonly cache: ResponseCache;
  /** Names of the upstreams whose responses may be cached. */
  readonly cachedUpstreams: ReadonlySet<string>;
  /** Security headers of forwarded responses. */
  readonly securityHeaders: ResponseHeaders;
}
