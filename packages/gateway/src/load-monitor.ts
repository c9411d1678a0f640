/** How much the process has to do. */
export interface LoadMonitor {
  /** Why one request more would be too many; undefined when it would not. */
  reason(): 'in_flight' | 'event_loop' | undefined;
  /** Counts a request in; the function it returns counts it out. */
  enter(): () => void;
  /** Stops looking. */
  stop(): void;
}

export interface LoadMonitorOptions {
  /** Requests in hand at most. */
  readonly maxInFlight: number;
  /** Milliseconds that the event loop may be late. */
  readonly maxDelayMs: number;
}

/** Milliseconds between two looks at the event loop. */
const tickMs = 20;

/**
 * Watches requests in hand and the event loop. A loop that is late has more to do than there is time for; every request
 * that it takes on then makes all others later.
 */
export function createLoadMonitor({ maxInFlight, maxDelayMs }: LoadMonitorOptions): LoadMonitor {
  let inFlight = 0;
  let tickedAt = performance.now();
  /** How late the last tick was. */
  let lateMs = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    lateMs = now - tickedAt - tickMs;
    tickedAt = now;
  }, tickMs);
  timer.unref();
  const leave = (): void => {
    inFlight -= 1;
  };
  return {
    reason() {
      if (inFlight >= maxInFlight) return 'in_flight';
      // The next tick may be late already: requests are read in one go, before it.
      if (lateMs > maxDelayMs || performance.now() - tickedAt - tickMs > maxDelayMs) return 'event_loop';
      return undefined;
    },
    enter() {
      inFlight += 1;
      return leave;
    },
    stop: () => clearInterval(timer),
  };
}
