import type { RequestContext } from '@zerda/chassis/request-context';

/** A number of requests per time window. */
export interface Quota {
  /** Largest number of requests in a window. */
  readonly requests: number;
  /** Length of the window in seconds. */
  readonly perSeconds: number;
}

/** The result of counting a request. */
export interface LimitResult {
  /** Whether the request is within the quota. */
  readonly allowed: boolean;
  /** Requests left in the window. */
  readonly remaining: number;
  /** Milliseconds until the next window starts. */
  readonly resetMs: number;
}

/** Counts requests by key in fixed windows. */
export interface Limiter {
  /** Counts one request; never throws. @param context context of the request, for its spans */
  count(key: string, context?: RequestContext): Promise<LimitResult>;
}

/** Creates limiters that count in this process or across all replicas. */
export interface Limiters {
  /** @param name unique name of the limiter */
  create(name: string, quota: Quota): Limiter;
}
