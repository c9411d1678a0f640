/** Measures the load of the process. */
export interface LoadMonitor {
  /** Returns why the process is overloaded; undefined while it is not. */
  reason(): 'in_flight' | 'event_loop' | undefined;
  /** Counts a request as in flight. */
  enter(): LoadEntry;
  /** Stops the timer. */
  stop(): void;
}

/** A request that was counted as in flight. */
export interface LoadEntry {
  /** Stops counting the request for good. */
  leave(): void;
  /** Stops counting the request while it waits for its client, because waiting costs only memory. */
  pause(): void;
  /** Counts the request again after `pause`. */
  resume(): void;
}

export interface LoadMonitorOptions {
  /** Maximum requests in flight. */
  readonly maxInFlight: number;
  /** Maximum event loop delay in milliseconds; longer delays count when they occur at least twice in a row. */
  readonly maxDelayMs: number;
}

/** Milliseconds between two measurements of the event loop delay. */
const tickMs = 20;

/**
 * Creates a monitor of the requests in flight and of the event loop delay. Only a persistent delay counts as overload, as
 * in CoDel (RFC 8289). A single delay means that the machine or the scheduler paused the process, which soon catches up.
 */
export function createLoadMonitor({ maxInFlight, maxDelayMs }: LoadMonitorOptions): LoadMonitor {
  let inFlight = 0;
  let tickedAt = performance.now();
  /** Number of consecutive late ticks, up to the latest one. */
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
      // The next tick may already be overdue: the event loop reads all waiting requests before it fires.
      return lateTicks > 1 || (lateTicks === 1 && isLate()) ? 'event_loop' : undefined;
    },
    enter() {
      inFlight += 1;
      let counted = true;
      let left = false;
      const pause = (): void => {
        if (counted) inFlight -= 1;
        counted = false;
      };
      return {
        pause,
        resume() {
          if (counted || left) return;
          inFlight += 1;
          counted = true;
        },
        leave() {
          pause();
          left = true;
        },
      };
    },
    stop: () => clearInterval(timer),
  };
}
