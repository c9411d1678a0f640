import { Failure } from '@zerda/chassis/failure';
import { isServiceFailure } from '@zerda/contracts/problems';
import { CircuitOpenError, type Outcome } from './circuit-breaker.ts';

/** A response of the upstream to a call. */
export interface UpstreamResponse {
  readonly status: number;
  /** Value of the `X-Problem` header. */
  readonly problem: string | undefined;
  /** Set if the response is still to be sent to the client. Calls that stream responses must hold each one that `isBusy`. */
  readonly held?: HeldResponse;
}

/** A response that waits for the decision about a retry. One of the methods is called once. */
export interface HeldResponse {
  /** Sends the response to the client. */
  pass(): void;
  /** Discards the response, because the call is retried. */
  discard(): void;
}

/** How one attempt at a call ended. */
export type AttemptResult<Response extends UpstreamResponse = UpstreamResponse> =
  | { readonly response: Response; readonly error?: undefined }
  | { readonly response?: undefined; readonly error: unknown };

/** The upstream did not respond within the timeout of the call. */
export class UpstreamTimeoutError extends Error {
  constructor(upstream: string, ms: number, options?: ErrorOptions) {
    super(`${upstream} did not respond within ${ms} ms`, options);
    this.name = 'UpstreamTimeoutError';
  }
}

/** The caller disconnected before the upstream responded. */
export class CallerDisconnectedError extends Error {
  /** Milliseconds that the caller waited for the upstream, without the time in which it sent the request. */
  readonly waitedMs: number;

  /** @param waitedMs the duration of the call by default */
  constructor(waitedMs = Number.POSITIVE_INFINITY) {
    super('the caller disconnected');
    this.name = 'CallerDisconnectedError';
    this.waitedMs = waitedMs;
  }
}

/** The upstream has the maximum number of calls in flight, so this call was not made. */
export class BulkheadFullError extends Error {
  constructor(upstream: string, calls: number) {
    super(`${upstream} has ${calls} calls in flight, which is the limit`);
    this.name = 'BulkheadFullError';
  }
}

/** Reason why a call has no usable response. */
export type UnavailableReason = 'circuit_open' | 'overloaded' | 'timeout' | 'unreachable' | 'error';

/** Returns why a call has no usable response, from the error it threw. */
export function reasonOf(error: unknown): UnavailableReason {
  if (error instanceof CircuitOpenError) return 'circuit_open';
  if (error instanceof BulkheadFullError) return 'overloaded';
  if (error instanceof UpstreamTimeoutError) return 'timeout';
  if (error instanceof Failure && error.code === 'deadline-exceeded') return 'timeout';
  return connectionErrors.has(codeOf(error) ?? '') ? 'unreachable' : 'error';
}

/** Error codes of failed DNS lookups. */
const lookupErrors = new Set(['ENOTFOUND', 'EAI_AGAIN']);

/** Returns whether the call was not made because the upstream has no address: no pod is ready, or DNS is unavailable. */
export function isUnresolved(error: unknown): boolean {
  return lookupErrors.has(codeOf(error) ?? '');
}

/** Codes of a connection that was not made. */
const connectErrors = new Set([
  ...lookupErrors,
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Whether no connection to the upstream was made: nothing listens, or no address is known. */
function isUnconnected(error: unknown): boolean {
  return connectErrors.has(codeOf(error) ?? '');
}

const connectionErrors = new Set([...connectErrors, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'UND_ERR_SOCKET']);

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/**
 * Returns what the end of a call shows about the upstream. The call is a failure of the upstream if it is unreachable, returns a 5xx of
 * its own (`isServiceFailure`), or is slow. A caller that disconnects or times out before the upstream is slow is ignored.
 * @param elapsedMs response time in milliseconds
 * @param slowMs response time in milliseconds from which the upstream is slow
 */
export function outcomeOf(result: AttemptResult, elapsedMs: number, slowMs: number): Outcome {
  const whenSlow = elapsedMs >= slowMs ? 'failure' : 'ignored';
  if (result.response !== undefined) {
    if (!isOwnFailure(result.response)) return 'success';
    // With 504 the upstream used up the time that the caller granted, which may have been short.
    return result.response.status === 504 ? whenSlow : 'failure';
  }
  const { error } = result;
  if (error instanceof UpstreamTimeoutError) return whenSlow;
  if (error instanceof CallerDisconnectedError) return error.waitedMs >= slowMs ? whenSlow : 'ignored';
  if (error instanceof Failure) return 'ignored';
  if (isUnconnected(error)) return 'unconnected';
  // The client library rejected the request before it was sent.
  return codeOf(error) === 'UND_ERR_INVALID_ARG' ? 'ignored' : 'failure';
}

/** Returns the value of the metric label `outcome`. */
export function metricsOutcomeOf(result: AttemptResult): 'answered' | 'caller_gone' | UnavailableReason {
  if (result.response !== undefined) return isOwnFailure(result.response) ? 'error' : 'answered';
  return result.error instanceof CallerDisconnectedError ? 'caller_gone' : reasonOf(result.error);
}

/** Returns whether another address may respond. */
export function isRetryable(result: AttemptResult): boolean {
  return result.response === undefined ? reasonOf(result.error) === 'unreachable' : isBusy(result.response);
}

/** Returns whether this address is overloaded and another may respond. False for a service that rejects only some requests. */
export function isBusy(response: UpstreamResponse): boolean {
  return response.status === 503 && isOwnFailure(response);
}

function isOwnFailure({ status, problem }: UpstreamResponse): boolean {
  return isServiceFailure(status, problem);
}
