export interface BackoffOptions {
  /** Delay after the first failure, in milliseconds. It doubles with each further failure. */
  readonly baseMs: number;
  /** Longest delay, in milliseconds. */
  readonly maxMs: number;
}

/** Returns the delay in milliseconds after the `failures`-th consecutive failure. Jitter shortens it by up to half. */
export function backoffMs(failures: number, { baseMs, maxMs }: BackoffOptions): number {
  const limitMs = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.ceil(limitMs * (1 - Math.random() / 2));
}
