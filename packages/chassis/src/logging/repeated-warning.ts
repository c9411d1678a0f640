import type { LogFields } from './catalog.ts';
import type { Logger } from './logger.ts';

/** Minimum time in milliseconds between two lines of one warning. */
const intervalMs = 60_000;

/**
 * Returns a function that logs a warning which clients can trigger at any rate. The first warning is logged immediately, then at most one
 * line per minute with the number of warnings since the previous line (`count`).
 */
export function createRepeatedWarning(
  logger: Pick<Logger, 'warn'>,
  message: string,
  now: () => number = () => performance.now(),
): (fields?: LogFields) => void {
  let count = 0;
  let nextAt = Number.NEGATIVE_INFINITY;
  return (fields = {}) => {
    count += 1;
    if (now() < nextAt) return;
    logger.warn({ ...fields, count }, message);
    count = 0;
    nextAt = now() + intervalMs;
  };
}
