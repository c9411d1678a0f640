/** How much the process has to do. */
export interface LoadMonitor {
  /** Why one request more would be too many; undefined when it would not. */
  reason(): 'in_flight' | 'event_loop' | undefined;
  /** Counts a request in. */
  enter(): LoadEntry;
  /** Stops looking. */
  stop(): void;
}

/** A request among those that are counted. */
export interface LoadEntry {
  /** Counts it out for good. */
  leave(): void;
  /** Counts it out while it waits for its client, which costs the process nothing but memory. */
  pause(): void;
  /** Counts it in again after `pause`. */
  resume(): void;
}

export interface LoadMonitorOptions {
  /** Requests in hand at most. */
  readonly maxInFlight: number;
  /** Milliseconds that the event loop may be late, more than once in a row. */
  readonly maxDelayMs: number;
}

/** Milliseconds between two looks at the event loop. */
const tickMs = 20;

/**
 * Watches requests in hand and the event loop. A loop that is late time after time has more to do than there is time for; every
 * request that it takes on then makes all others later. One that was late once has stood still, as when the machine or the
 * scheduler held the process up: what came meanwhile is soon done, and none of it is refused. So what counts is a delay that
 * stays, as in CoDel (RFC 8289).
 */
export function createLoadMonitor({ maxInFlight, maxDelayMs }: LoadMonitorOptions): LoadMonitor {
  let inFlight = 0;
  let tickedAt = performance.now();
  /** Ticks in a row that were too late, up to the last one. */
  let lateTicks = 0;
  const isLate = (): boolean => performance.now() - tickedAt - tickMs > maxDelayMs;
  const timer = setInterval(() => {
    lateTicks = isLate() ? lateTicks + 1 : 0;
    tickedAt = performance.now();
  }, tickMs);
  timer.unref();
  return {
    reason() {
      if (inFlight >= maxInFlight) return 'in_flight';
      // The next tick may be late already: requests are read in one go, before it.
      return lateTicks > 1 || (lateTicks === 1 && isLate()) ? 'event_loop' : undefined;
    },
    enter() {
      inFlight += 1;
      let counted = true;
      let over = false;
      const pause = (): void => {
        if (counted) inFlight -= 1;
        counted = false;
      };
      return {
        pause,
        resume() {
          if (counted || over) return;
          inFlight += 1;
          counted = true;
        },
        leave() {
          pause();
          over = true;
        },
      };
    },
    stop: () => clearInterval(timer),
  };
}
