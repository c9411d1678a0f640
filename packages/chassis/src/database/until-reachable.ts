import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';

/** The database was not there, or went away: the same can succeed later. */
export class DatabaseAwayError extends StartupError {}

export interface UntilReachableOptions {
  readonly logger: Pick<Logger, 'warn'>;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  /** Milliseconds before the second attempt, doubled for each further one; 250 by default. */
  readonly firstWaitMs?: number;
  /** Milliseconds between two attempts at most; 3000 by default. */
  readonly longestWaitMs?: number;
}

/**
 * Repeats `attempt` for as long as the database is away. A process that ends instead is started again by Kubernetes after a
 * pause that grows to five minutes, most of which the database would be back for. The waits are at random between half
 * and all of their length, so that replicas do not come all at once.
 * @throws whatever else `attempt` throws; the last DatabaseAwayError when the signal ends the waiting
 */
export async function untilReachable<T>(
  attempt: () => Promise<T>,
  { logger, signal, firstWaitMs = 250, longestWaitMs = 3000 }: UntilReachableOptions,
): Promise<T> {
  for (let longest = firstWaitMs; ; longest = Math.min(longest * 2, longestWaitMs)) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof DatabaseAwayError) || signal.aborted) throw error;
      const waitMs = Math.round(longest * (0.5 + Math.random() / 2));
      logger.warn({ wait_ms: waitMs }, `${error.message}; trying again`);
      await wait(waitMs, undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}
