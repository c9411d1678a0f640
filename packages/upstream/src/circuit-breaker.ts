import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { runInContext } from '@zerda/chassis/request-context';
import Opossum from 'opossum';

/**
 * What the end of a call shows about the upstream: it works, it fails, or nothing (`ignored`), because the caller disconnected or had a
 * short timeout. `unconnected` is a failure without a connection, which costs the upstream nothing.
 */
export type Outcome = 'success' | 'failure' | 'unconnected' | 'ignored';

export type CircuitState = 'closed' | 'half-open' | 'open';

/** The circuit is open, so the call was not made. */
export class CircuitOpenError extends Error {
  /** Seconds until the next probe, for `Retry-After`; at least 1. */
  readonly retryAfterSeconds: number;

  constructor(circuit: string, retryAfterSeconds: number) {
    super(`the circuit of ${circuit} is open`);
    this.name = 'CircuitOpenError';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface CircuitBreakerSettings {
  /** Percentage of failed calls above which the circuit opens. */
  readonly errorPercent: number;
  /** Minimum number of calls that end within the window before the circuit can open. */
  readonly volume: number;
  /** Length of the window in milliseconds; `resetMs` is its upper limit. */
  readonly windowMs: number;
  /**
   * Maximum time in milliseconds until an open circuit allows a probe. The first probe comes after a tenth of it (at least 50 ms), later
   * ones after a quarter of the time since the circuit opened. So recovery from a short outage is quick, and a long one causes few probes.
   * While no connection is accepted, all of them come after a tenth: a refused connection costs the service nothing.
   */
  readonly resetMs: number;
}

export interface CircuitBreakerOptions extends CircuitBreakerSettings {
  /** Name in metrics, logs and errors. */
  readonly name: string;
  readonly metrics: Pick<Metrics, 'circuitEvent' | 'circuitState'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** Counters of a circuit since the process started. */
export interface CircuitHistory {
  /** Time of the last state change. */
  readonly since: Date;
  /** Permitted calls that succeeded. */
  readonly successes: number;
  /** Permitted calls that failed. */
  readonly failures: number;
  /** Calls that the open circuit rejected. */
  readonly rejections: number;
  /** Number of times the circuit opened. */
  readonly openings: number;
}

/** A call that the circuit breaker permitted. */
export interface PermittedCall {
  /** Whether the call is a probe of a half-open circuit. */
  readonly probe: boolean;
  /** Generation of the circuit at the start of the call. */
  readonly generation: number;
}

export interface CircuitBreaker {
  readonly name: string;
  readonly state: CircuitState;
  /** Counters since the process started. */
  readonly history: CircuitHistory;
  /**
   * Starts a call, or returns an error if the circuit rejects it. Each call that was started must be recorded. It must time out by itself:
   * a probe that hangs keeps the circuit half-open.
   */
  start(): PermittedCall | CircuitOpenError;
  /**
   * Records that the upstream has accepted a connection for a probe. If all failures were refused connections, this ends the outage: a new
   * process may take a second for its first response, and other calls need not wait for it.
   */
  recordConnection(call: PermittedCall): void;
  /**
   * Records that the upstream has a new address, about which the failures say nothing. If all of them were calls without a connection, this
   * closes the circuit: only pods that are ready are in DNS. It does so once until a call succeeds, because a name server may return other
   * addresses each time.
   */
  recordNewAddress(): void;
  /** Records the end of a call. */
  record(call: PermittedCall, outcome: Outcome): void;
  /** Stops the timers of the circuit. Later calls fail. */
  shutdown(): void;
}

/** Maximum number of concurrent probes of a half-open circuit. With more than one, a probe that hangs does not hide a recovery. */
const maxProbes = 3;

const stateNumbers = { closed: 0, 'half-open': 1, open: 2 } as const;

/**
 * Creates a circuit breaker based on opossum. Decision record 21 lists what opossum does and what this module adds.
 *
 * opossum records a call when it ends, with its outcome. Failures of calls that started before the circuit last opened or closed are
 * ignored, because they may be outdated.
 */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  const { name, metrics, logger, resetMs } = options;
  const firstOpenMs = Math.min(resetMs, Math.max(resetMs / 10, 50));
  // opossum reads `resetTimeout` from this object each time it opens.
  const settings: Opossum.Options = {
    name,
    timeout: false,
    errorThresholdPercentage: options.errorPercent,
    volumeThreshold: options.volume,
    resetTimeout: firstOpenMs,
    rollingCountTimeout: Math.min(options.windowMs, resetMs),
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
  };
  const circuit = new Opossum(settle, settings);
  /** Milliseconds that the circuit stays open until the next probe. */
  let openMs = firstOpenMs;
  let openedAt = 0;
  /** Time of the first opening in this outage. The outage ends when the circuit has been closed for `resetMs`. */
  let outageStartedAt: number | undefined;
  let closedAt = 0;
  /** Incremented when the circuit opens or closes. */
  let generation = 0;
  /** Number of probes in flight. */
  let probes = 0;
  let probedAt = 0;
  /** Whether all failures since the circuit closed or a call succeeded were calls without a connection. */
  let isUnreachable = true;
  /** Whether a call has succeeded since a new address closed the circuit. */
  let mayCloseAtAddress = true;

  const counts = { success: 0, failure: 0, reject: 0, ignored: 0, open: 0, halfOpen: 0, close: 0 };
  let since = new Date();

  function count(event: keyof typeof counts): void {
    counts[event] += 1;
    metrics.circuitEvent(name, event);
  }

  function recordState(event: 'open' | 'halfOpen' | 'close'): void {
    count(event);
    since = new Date();
    metrics.circuitState(name, stateNumbers[stateOf(circuit)]);
  }

  metrics.circuitState(name, stateNumbers.closed);
  circuit.on('open', () => {
    recordState('open');
    openedAt = performance.now();
    outageStartedAt ??= openedAt;
    openMs = settings.resetTimeout ?? resetMs;
    startGeneration();
    // The line concerns the upstream, not the current request.
    runInContext(undefined, () =>
      logger.warn({ circuit: name, retry_ms: Math.round(openMs) }, 'circuit opened'),
    );
  });
  circuit.on('halfOpen', () => {
    recordState('halfOpen');
    const outageMs = performance.now() - (outageStartedAt ?? openedAt);
    settings.resetTimeout = Math.min(resetMs, Math.max(firstOpenMs, outageMs / 4));
    runInContext(undefined, () => logger.info({ circuit: name }, 'circuit half-open'));
  });
  circuit.on('close', () => {
    recordState('close');
    startGeneration();
    closedAt = performance.now();
    isUnreachable = true;
    clearWindow(circuit);
    runInContext(undefined, () => logger.info({ circuit: name }, 'circuit closed'));
  });

  function startGeneration(): void {
    generation += 1;
    probes = 0;
  }

  /** Returns whether the next call may be a probe. */
  function mayProbe(): boolean {
    if (!circuit.halfOpen) return false;
    return probes === 0 || (probes < maxProbes && performance.now() - probedAt >= openMs);
  }

  function endOutage(): void {
    if (outageStartedAt === undefined || performance.now() - closedAt < resetMs) return;
    outageStartedAt = undefined;
    settings.resetTimeout = firstOpenMs;
  }

  function openError(): CircuitOpenError {
    const remainingMs = circuit.opened ? openedAt + openMs - performance.now() : 0;
    return new CircuitOpenError(name, Math.max(1, Math.ceil(remainingMs / 1000)));
  }

  function recordSuccess(): void {
    // While the circuit is open, a late success of an earlier call does not show that all failures were calls without a connection.
    if (circuit.halfOpen) circuit.close();
    else if (circuit.closed) {
      isUnreachable = true;
      void circuit.fire('success');
    }
    if (circuit.closed) mayCloseAtAddress = true;
    count('success');
  }

  function recordFailure(isUnconnected: boolean): void {
    count('failure');
    if (isUnconnected) settings.resetTimeout = firstOpenMs;
    else isUnreachable = false;
    if (circuit.halfOpen) circuit.open();
    else circuit.fire('failure').catch(ignoreError);
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
    start() {
      if (circuit.closed) {
        endOutage();
        return { probe: false, generation };
      }
      if (!mayProbe()) {
        count('reject');
        return openError();
      }
      probes += 1;
      probedAt = performance.now();
      return { probe: true, generation };
    },
    recordConnection(call) {
      if (isUnreachable && circuit.halfOpen && call.generation === generation) circuit.close();
    },
    recordNewAddress() {
      if (!isUnreachable || !mayCloseAtAddress || !(circuit.opened || circuit.halfOpen)) return;
      mayCloseAtAddress = false;
      circuit.close();
    },
    record(call, outcome) {
      const isStale = call.generation !== generation;
      if (call.probe && !isStale) probes -= 1;
      if (outcome === 'success') recordSuccess();
      else if (outcome === 'ignored' || isStale) count('ignored');
      else recordFailure(outcome === 'unconnected');
    },
    shutdown() {
      circuit.shutdown();
    },
  };
}

const succeeded = Promise.resolve();
const failed = new Error('call failed');

/** The action of opossum, for a call that has ended. It throws instead of rejecting, so that the circuit opens synchronously. */
function settle(outcome: 'success' | 'failure'): Promise<void> {
  if (outcome === 'failure') throw failed;
  return succeeded;
}

/** opossum returns the error of `settle`. */
function ignoreError(): void {}

function stateOf(circuit: Pick<Opossum, 'opened' | 'halfOpen'>): CircuitState {
  if (circuit.opened) return 'open';
  return circuit.halfOpen ? 'half-open' : 'closed';
}

/** Clears the window after a recovery. Otherwise old failures could open the circuit again. */
function clearWindow({ status }: Pick<Opossum, 'status'>): void {
  for (const bucket of status.window) Object.assign(bucket, { fires: 0, failures: 0 });
}
