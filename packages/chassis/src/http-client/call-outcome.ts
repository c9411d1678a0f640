import { isServiceFailure } from '@zerda/contracts/problems';
import { Failure } from '../failure.ts';
import { CircuitOpenError, type Judge, type Outcome } from './circuit-breaker.ts';

/** What is looked at in an answer. */
export interface UpstreamAnswer {
  readonly status: number;
  /** Value of the `X-Problem` header. */
  readonly problem: string | undefined;
}

/** The upstream did not answer in the time the call had. */
export class UpstreamTimeoutError extends Error {
  constructor(upstream: string, ms: number, options?: ErrorOptions) {
    super(`${upstream} did not answer within ${ms} ms`, options);
    this.name = 'UpstreamTimeoutError';
  }
}

/** Whoever asked has gone; there is nobody to answer. */
export class CallerGoneError extends Error {
  /** Milliseconds it waited for the upstream, as against those in which it was still asking. */
  readonly waitedMs: number;

  /** @param waitedMs for as long as the call took, by default */
  constructor(waitedMs = Number.POSITIVE_INFINITY) {
    super('the caller went away');
    this.name = 'CallerGoneError';
    this.waitedMs = waitedMs;
  }
}

/** As many calls as the upstream may have at a time are in flight; this one was not made. */
export class BulkheadFullError extends Error {
  constructor(upstream: string, calls: number) {
    super(`${upstream} has ${calls} calls in flight, and takes no more`);
    this.name = 'BulkheadFullError';
  }
}

/** Why a call has no usable answer, in a word. */
export type UnavailableReason = 'circuit_open' | 'overloaded' | 'timeout' | 'unreachable' | 'error';

/** Why a call has no usable answer, told from what it threw. */
export function reasonOf(error: unknown): UnavailableReason {
  if (error instanceof CircuitOpenError) return 'circuit_open';
  if (error instanceof BulkheadFullError) return 'overloaded';
  if (error instanceof UpstreamTimeoutError) return 'timeout';
  if (error instanceof Failure && error.code === 'deadline-exceeded') return 'timeout';
  return connectionErrors.has(codeOf(error) ?? '') ? 'unreachable' : 'error';
}

/** Codes of a look-up of a name that has come to nothing. */
const lookupErrors = new Set(['ENOTFOUND', 'EAI_AGAIN']);

/** Whether the upstream has no address just now, so that the call was not made: none of its pods is ready, or DNS is away. */
export function isUnresolved(error: unknown): boolean {
  return lookupErrors.has(codeOf(error) ?? '');
}

const connectionErrors = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  ...lookupErrors,
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/**
 * The upstream fails when it cannot be reached, returns a 5xx that is a failure of its own (`isServiceFailure`), or does not
 * respond in a time that is long for it. A caller that gives up before the upstream is slow says nothing.
 */
export class TimedJudge implements Judge<UpstreamAnswer> {
  readonly #slowMs: number;
  #startedAt = performance.now();

  /** @param slowMs milliseconds from now after which the upstream is slow */
  constructor(slowMs: number) {
    this.#slowMs = slowMs;
  }

  /** Begins the call's time anew: the request took its client a while to send. */
  restart(): void {
    this.#startedAt = performance.now();
  }

  /** Milliseconds since the call began. */
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  onResult({ status, problem }: UpstreamAnswer): Outcome {
    if (!isServiceFailure(status, problem)) return 'success';
    // It ran out of the time that the caller gave it.
    return status === 504 ? this.#unlessQuick() : 'failure';
  }

  onError(error: unknown): Outcome {
    if (error instanceof UpstreamTimeoutError) return this.#unlessQuick();
    if (error instanceof CallerGoneError) return this.#unlessQuick(error.waitedMs);
    if (error instanceof Failure) return 'ignored';
    // Refused by the client library before anything was sent.
    return codeOf(error) === 'UND_ERR_INVALID_ARG' ? 'ignored' : 'failure';
  }

  #unlessQuick(waitedMs = Number.POSITIVE_INFINITY): Outcome {
    return Math.min(waitedMs, this.elapsedMs) >= this.#slowMs ? 'failure' : 'ignored';
  }
}

/** Whether another address may give an answer where this one gave none. */
export function isWorthRetrying(error: unknown): boolean {
  return reasonOf(error) === 'unreachable';
}

/** Whether another address may respond where this one is busy: not when the service works and refuses one kind of request. */
export function isBusy({ status, problem }: UpstreamAnswer): boolean {
  return status === 503 && isServiceFailure(status, problem);
}
