import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import type { AnswerHeaders } from '@zerda/chassis/http/answer-headers';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import type { PolicyMetrics } from '@zerda/chassis/metrics/policy-metrics';
import type { AnswerCache } from '../cache/answer-cache.ts';
import type { ForwardedHeaders, SecureLookup } from '../forwarded-headers.ts';
import type { Limiters } from '../limits/limiter.ts';
import type { LoadMonitor } from '../load-monitor.ts';
import type { HeaderFilter } from '../passed-headers.ts';
import type { RequestCounter } from './request-counter.ts';

/** What policies work with: one of each for the whole gateway. */
export interface PolicyResources {
  readonly metrics: PolicyMetrics;
  /** Tells who asks; `off` when everybody may do everything. */
  readonly authentication: Authentication;
  readonly clientAddress: ClientAddress;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  readonly limiters: Limiters;
  /** What every limit of the table is multiplied by; 0 switches limits off. */
  readonly limitFactor: number;
  /** What counts requests to the upstreams that have a limit, by name. */
  readonly upstreamCounters: ReadonlyMap<string, RequestCounter>;
  readonly load: LoadMonitor;
  readonly cache: AnswerCache;
  /** Names of the upstreams whose answers the cache may have. */
  readonly cachedUpstreams: ReadonlySet<string>;
  /** Milliseconds that an upstream has where the table does not say. */
  readonly upstreamTimeoutMs: number;
  /** Headers that the gateway puts on what it passes on. */
  readonly guards: AnswerHeaders;
  /** Which headers of an answer go back where no policy writes any. */
  readonly passesAnswer: HeaderFilter;
}
