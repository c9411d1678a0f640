import Opossum from 'opossum';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { runInContext } from '../request-context.ts';

/**
 * What one call says about the upstream: it works, it fails, or nothing, because the call ended for a reason of the
 * caller's (who went away, or would not wait).
 */
export type Outcome = 'success' | 'failure' | 'ignored';

/** Tells the outcome of a call from how it ended. */
export interface Judge<Result> {
  onResult(result: Result): Outcome;
  onError(error: unknown): Outcome;
}

export type CircuitState = 'closed' | 'half-open' | 'open';

/** The circuit is open: the call was not made. */
export class CircuitOpenError extends Error {
  /** Seconds until the next call is let through as a probe; 1 or more, as `Retry-After` needs it. */
  readonly retryAfterSeconds: number;

  constructor(circuit: string, retryAfterSeconds: number) {
    super(`the circuit of ${circuit} is open`);
    this.name = 'CircuitOpenError';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface CircuitBreakerSettings {
  /** Share of failed calls, in percent, above which the circuit opens. */
  readonly errorPercent: number;
  /** Calls within the window below which the circuit never opens. */
  readonly volume: number;
  /** Milliseconds of calls the circuit judges by; never more than `resetMs`, which bounds it. */
  readonly windowMs: number;
  /**
   * Milliseconds an open circuit waits at most before it lets one call through as a probe. It waits a tenth of them (50 at least) at
   * first, and a quarter of the time since it opened later: a short outage ends soon, a long one is probed seldom.
   */
  readonly resetMs: number;
}

export interface CircuitBreakerOptions extends CircuitBreakerSettings {
  /** Name in metrics, logs and errors. */
  readonly name: string;
  readonly metrics: Pick<Metrics, 'circuitEvent' | 'circuitState'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** What a circuit has been through since the process began. */
export interface CircuitHistory {
  /** When it took the state it has. */
  readonly since: Date;
  /** Calls that were let through and told that the upstream works. */
  readonly successes: number;
  /** Calls that were let through and failed. */
  readonly failures: number;
  /** Calls that were not let through. */
  readonly rejections: number;
  /** How often it opened. */
  readonly openings: number;
}

export interface CircuitBreaker {
  readonly name: string;
  readonly state: CircuitState;
  /** What has happened since the process began. */
  readonly history: CircuitHistory;
  /**
   * Makes the call unless the circuit is open, and learns from how it ends. The call must end by itself: time is
   * its own concern, because a call that hangs as the probe keeps the circuit half-open.
   * @param call is told whether it is the probe that a half-open circuit is judged by
   * @throws CircuitOpenError when the call is not let through; otherwise what the call throws
   */
  run<Result>(call: (probe: boolean) => Promise<Result>, judge: Judge<Result>): Promise<Result>;
  /** Stops the circuit's timers; every later call fails. */
  shutdown(): void;
}

/** How opossum hears of an outcome: by the end of a promise that stands for the call. */
interface Verdict {
  succeed(): void;
  fail(error: unknown): void;
}

/** Probes of a half-open circuit that may be in flight at the same time: one that hangs must not hide a recovery. */
const maxProbes = 3;

const events = ['success', 'failure', 'reject', 'open', 'halfOpen', 'close'] as const;

const stateNumbers = { closed: 0, 'half-open': 1, open: 2 } as const;

/**
 * A circuit breaker on opossum. opossum knows successes and failures only; a call that tells neither is taken out of
 * its window again, and when it was the probe of a half-open circuit, the next call takes its place. A failure of a call that began
 * before the circuit last opened or closed counts as neither: it says nothing about the upstream as it is now. Its `timeout`,
 * `abortController` and `capacity` stay off: the first two are one for all calls in flight, and a full bulkhead
 * would open the circuit of a healthy upstream.
 */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  const { name, metrics, logger, resetMs } = options;
  const firstRestMs = Math.min(resetMs, Math.max(resetMs / 10, 50));
  // opossum reads the time of rest from here each time it opens.
  const settings: Opossum.Options = {
    name,
    timeout: false,
    errorThresholdPercentage: options.errorPercent,
    volumeThreshold: options.volume,
    resetTimeout: firstRestMs,
    rollingCountTimeout: Math.min(options.windowMs, resetMs),
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
  };
  const circuit = new Opossum((start: () => Promise<void>) => start(), settings);
  /** Milliseconds that the circuit rests each time it opens, while it is the same outage. */
  let restMs = firstRestMs;
  let openedAt = 0;
  /** When it first opened in this outage, which ends once the circuit has been closed for `resetMs`. */
  let outageAt: number | undefined;
  let closedAt = 0;
  /** Rises when the circuit opens or closes. */
  let generation = 0;
  /** The verdict that closes or opens the half-open circuit. */
  let probe: Verdict | undefined;
  /** The probe told nothing; the next call is made in its place. */
  let probeVacant = false;
  /** Probes in flight that share the verdict. */
  let probes = 0;
  let probedAt = 0;

  const counts = { success: 0, failure: 0, reject: 0, open: 0, halfOpen: 0, close: 0 };
  let since = new Date();

  for (const event of events) {
    // The type of `on` has one overload an event; they all fit a listener without parameters.
    circuit.on(event as 'open', () => {
      counts[event] += 1;
      metrics.circuitEvent(name, event);
      if (event !== 'open' && event !== 'halfOpen' && event !== 'close') return;
      since = new Date();
      metrics.circuitState(name, stateNumbers[stateOf(circuit)]);
    });
  }
  metrics.circuitState(name, stateNumbers.closed);
  circuit.on('open', () => {
    openedAt = performance.now();
    outageAt ??= openedAt;
    restMs = settings.resetTimeout ?? resetMs;
    endProbe();
    // The line is about the upstream, not about the request that happened to be in hand.
    runInContext(undefined, () =>
      logger.warn({ circuit: name, retry_ms: Math.round(restMs) }, 'circuit opened'),
    );
  });
  circuit.on('halfOpen', () => {
    const outageMs = performance.now() - (outageAt ?? openedAt);
    settings.resetTimeout = Math.min(resetMs, Math.max(firstRestMs, outageMs / 4));
    runInContext(undefined, () => logger.info({ circuit: name }, 'circuit half-open'));
  });
  circuit.on('close', () => {
    endProbe();
    closedAt = performance.now();
    forget(circuit.status.window);
    runInContext(undefined, () => logger.info({ circuit: name }, 'circuit closed'));
  });

  function endProbe(): void {
    generation += 1;
    probe = undefined;
    probeVacant = false;
    probes = 0;
  }

  /** Whether another call may pass while the circuit is half-open. */
  function mayProbe(): boolean {
    if (probeVacant) return true;
    return probes < maxProbes && performance.now() - probedAt >= restMs;
  }

  function endOutage(): void {
    if (outageAt === undefined || !circuit.closed || performance.now() - closedAt < resetMs) return;
    outageAt = undefined;
    settings.resetTimeout = firstRestMs;
  }

  function sendProbe(): void {
    probeVacant = false;
    probes += 1;
    probedAt = performance.now();
  }

  function openError(): CircuitOpenError {
    const leftMs = circuit.opened ? openedAt + restMs - performance.now() : 0;
    return new CircuitOpenError(name, Math.max(1, Math.ceil(leftMs / 1000)));
  }

  function observe<Result>(
    call: Promise<Result>,
    judge: Judge<Result>,
    verdict: Verdict,
    uncountCall: () => void,
  ): Promise<Result> {
    const born = generation;
    function settle(outcome: Outcome, error?: unknown): void {
      const stale = born !== generation;
      if (!stale && probe === verdict) probes -= 1;
      if (outcome === 'success') verdict.succeed();
      else if (stale) metrics.circuitEvent(name, 'ignored');
      else if (outcome === 'failure') verdict.fail(error);
      else {
        metrics.circuitEvent(name, 'ignored');
        uncountCall();
        if (probe === verdict && probes === 0) probeVacant = true;
      }
    }
    return call.then(
      (result) => {
        settle(judge.onResult(result));
        return result;
      },
      (error: unknown) => {
        settle(judge.onError(error), error);
        throw error;
      },
    );
  }

  return {
    name,
    get state() {
      return stateOf(circuit);
    },
    get history() {
      return {
        since,
        successes: counts.success,
        failures: counts.failure,
        rejections: counts.reject,
        openings: counts.open,
      };
    },
    run<Result>(call: (probe: boolean) => Promise<Result>, judge: Judge<Result>) {
      if (probe !== undefined && mayProbe()) {
        sendProbe();
        return observe(call(true), judge, probe, () => undefined);
      }
      endOutage();
      const isProbe = circuit.halfOpen;
      const bucket = circuit.status.window[0];
      const attempt: { made?: Promise<Result> } = {};
      const judged = circuit.fire(
        () =>
          new Promise<void>((succeed, fail) => {
            const verdict = { succeed, fail };
            if (isProbe) {
              probe = verdict;
              sendProbe();
            }
            attempt.made = observe(call(isProbe), judge, verdict, () => uncount(bucket));
          }),
      );
      // The caller gets the call's own end; this promise only tells opossum.
      judged.catch(() => undefined);
      return attempt.made ?? Promise.reject(openError());
    },
    shutdown() {
      circuit.shutdown();
    },
  };
}

function stateOf(circuit: Pick<Opossum, 'opened' | 'halfOpen'>): CircuitState {
  if (circuit.opened) return 'open';
  return circuit.halfOpen ? 'half-open' : 'closed';
}

/**
 * Takes one call out of the window it was counted in: opossum divides failures by all calls, unjudged ones included,
 * and would be slow to open beside many of them.
 */
function uncount(bucket: Opossum.Bucket | undefined): void {
  if (bucket !== undefined) bucket.fires -= 1;
}

/**
 * What was before a recovery says nothing after it: one new failure must not open the circuit with the help of old
 * ones, nor stay without effect beside the calls that were rejected.
 */
function forget(window: readonly Opossum.Bucket[]): void {
  for (const bucket of window)
    Object.assign(bucket, { fires: 0, failures: 0, successes: 0, rejects: 0, timeouts: 0 });
}
