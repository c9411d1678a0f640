/** How many requests may come in how long. */
export interface Quota {
  /** Requests at most. */
  readonly requests: number;
  /** Seconds that they are counted in; then counting begins anew. */
  readonly perSeconds: number;
}

/** What counting a request said. */
export interface Count {
  /** Whether it is within the quota. */
  readonly allowed: boolean;
  /** Requests that are left. */
  readonly remaining: number;
  /** Milliseconds until counting begins anew. */
  readonly resetMs: number;
}

/** Counts requests by key. */
export interface Limiter {
  /** Counts one request; never throws. */
  count(key: string): Promise<Count>;
}

/** Makes limiters, which count in this process alone or with all replicas. */
export interface Limiters {
  /** @param name what is counted, unlike any other limiter's */
  create(name: string, quota: Quota): Limiter;
}
