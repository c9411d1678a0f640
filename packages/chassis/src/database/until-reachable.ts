import { setTimeout as wait } from 'node:timers/promises';
import { backoffMs } from '../backoff.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';

/** The database was unavailable. A retry can succeed. */
export class DatabaseUnavailableError extends StartupError {}

export interface UntilReachableOptions {
  readonly logger: Pick<Logger, 'warn'>;
  /** Stops the retries. */
  readonly signal: AbortSignal;
  /** Delay in milliseconds before the second attempt, doubled for each further one; 250 by default. */
  readonly firstWaitMs?: number;
  /** Maximum delay in milliseconds between two attempts; 3000 by default. */
  readonly maxWaitMs?: number;
}

/**
 * Retries `attempt` while the database is unavailable. If the process exited instead, Kubernetes would restart it with
 * a backoff of up to five minutes, longer than most outages. Jitter of up to half of each delay spreads the attempts of
 * replicas.
 * @throws any other error of `attempt`; the last DatabaseUnavailableError if the signal aborts
 */
export async function untilReachable<T>(
  attempt: () => Promise<T>,
  { logger, signal, firstWaitMs = 250, maxWaitMs = 3000 }: UntilReachableOptions,
): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError) || signal.aborted) throw error;
      const waitMs = backoffMs(failures, { baseMs: firstWaitMs, maxMs: maxWaitMs });
      logger.warn({ wait_ms: waitMs }, `${error.message}; retrying`);
      await wait(waitMs, undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}
