import { withTimeout } from '../with-timeout.ts';

/** Maximum milliseconds that a scrape waits for a value, below any usual scrape timeout (10 s by default). */
const maxReadMs = 500;

/**
 * Returns a value for a gauge; undefined if it cannot be read in time. An unavailable or slow database must not delay a scrape, which
 * would hide all other metrics of the process during the outage.
 */
export async function readInTime<Value>(read: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await withTimeout(read(), maxReadMs, () => undefined);
  } catch {
    return undefined;
  }
}
