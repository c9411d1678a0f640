export interface BackoffOptions {
  /** Milliseconds after the first failure; doubled with each one more. */
  readonly baseMs: number;
  /** Milliseconds at most. */
  readonly maxMs: number;
}

/** Milliseconds to wait after the `failures`-th failure in a row, of which up to half are left to chance. */
export function backoffMs(failures: number, { baseMs, maxMs }: BackoffOptions): number {
  const longest = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.ceil(longest * (1 - Math.random() / 2));
}
