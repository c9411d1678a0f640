import { setTimeout as wait } from 'node:timers/promises';
import { currentContext } from '../request-context.ts';
import { isRetryable } from './database-errors.ts';

/** Maximum number of attempts before the error reaches the caller. */
const maxAttempts = 6;
/**
 * Upper limit of the random delay in milliseconds, times the number of attempts. It separates conflicting transactions.
 */
const baseDelayMs = 10;

/**
 * Retries a transaction after a deadlock, a serialization failure or a stale plan, until the request deadline expires.
 * @param onRetry called before each retry with the number of the failed attempt and its error
 */
export async function retryTransaction<T>(
  transaction: () => Promise<T>,
  onRetry?: (attempt: number, error: unknown) => void,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transaction();
    } catch (error) {
      if (!isRetryable(error) || attempt === maxAttempts || currentContext()?.deadline.expired) throw error;
      onRetry?.(attempt, error);
      await wait(Math.random() * baseDelayMs * attempt);
    }
  }
}
