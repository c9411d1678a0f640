import { errorTypeOf } from '../tracing/error-type.ts';
import { inSpan } from '../tracing/in-span.ts';
import { Rollback } from './rollback.ts';

/** Runs a transaction in a span if the current request is recorded. @param work gets a function that records a retry */
export async function inTransactionSpan<T>(
  work: (onRetry?: (attempt: number, error: unknown) => void) => Promise<T>,
): Promise<T> {
  const result = await inSpan<T | Rollback>(
    'transaction',
    () => ({ name: 'transaction', attributes: { 'db.system.name': 'postgresql' } }),
    (span) =>
      work(
        span &&
          ((attempt, error) =>
            span.addEvent('transaction retry', {
              'zerda.transaction.attempt': attempt,
              'error.type': errorTypeOf(error),
            })),
      ).catch(returnRollback),
  );
  if (result instanceof Rollback) throw result;
  return result;
}

/** Returns an expected reason to roll back, so that the span does not count as failed. */
function returnRollback(error: unknown): Rollback {
  if (error instanceof Rollback) return error;
  throw error;
}
