import { errorTypeOf } from '../tracing/error-type.ts';
import { inSpan } from '../tracing/in-span.ts';

/** Runs a transaction in a span if the current request is recorded. @param work gets a function that records a retry */
export function inTransactionSpan<T>(
  work: (onRetry?: (attempt: number, error: unknown) => void) => Promise<T>,
): Promise<T> {
  return inSpan(
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
      ),
  );
}
