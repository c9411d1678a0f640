import type { Logger } from './logger.ts';

/** Milliseconds between two lines of one warning. */
const intervalMs = 60_000;

/**
 * A warning that a client can cause as often as it likes. The first one is logged at once; after that one line a minute at most, with the
 * number of warnings (`count`) that it stands for.
 */
export function createRepeatedWarning(
  logger: Pick<Logger, 'warn'>,
  message: string,
  now: () => number = () => performance.now(),
): (fields?: Record<string, unknown>) => void {
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
