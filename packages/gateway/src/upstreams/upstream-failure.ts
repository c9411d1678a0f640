import { challenge } from '@zerda/chassis/auth/bearer';
import { Failure, type FailureOptions } from '@zerda/chassis/failure';
import { type ProblemCode, problemCodeOf, problemType, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { BulkheadFullError, isUnresolved, UpstreamTimeoutError } from '@zerda/upstream/call-outcome';
import { CircuitOpenError } from '@zerda/upstream/circuit-breaker';
import { parseHttpDate } from '../cache/http-date.ts';

/**
 * Converts the error of an upstream call to the failure that the caller gets.
 * @param passedStatuses statuses that are returned unchanged when the upstream sends no problem code; none by default
 */
export function toFailure(error: unknown, passedStatuses: readonly number[] = []): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof CircuitOpenError) {
    return new Failure('upstream-unavailable', {
      detail: `${error.message}.`,
      retryAfterSeconds: error.retryAfterSeconds,
    });
  }
  if (error instanceof BulkheadFullError) {
    return new Failure('upstream-overloaded', {
      detail: `${error.message}.`,
      retryAfterSeconds: 1,
    });
  }
  if (error instanceof UpstreamTimeoutError) {
    return new Failure('upstream-timeout', { detail: `${error.message}.`, cause: error });
  }
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'UND_ERR_BODY_TIMEOUT')
    return new Failure('upstream-timeout', {
      detail: 'The response body of the service did not arrive in time.',
      cause: error,
    });
  if (isUnresolved(error)) {
    return new Failure('upstream-unavailable', {
      detail: 'The host name of the service does not resolve at the moment.',
      retryAfterSeconds: 1,
      cause: error,
    });
  }
  return responseFailure(error, passedStatuses) ?? new Failure('upstream-failed', { cause: error });
}

interface RespondedError {
  readonly response?: {
    readonly status: number;
    readonly headers: Readonly<Record<string, unknown>>;
    readonly data: unknown;
  };
}

/**
 * Returns the upstream's own problem for a 4xx or 503 response with a problem code. Returns undefined for other error
 * responses, which become 502.
 */
function responseFailure(error: unknown, passedStatuses: readonly number[]): Failure | undefined {
  const { response } = error as RespondedError;
  if (response === undefined) return undefined;
  const code = problemOf(response.headers[headerNames.problem], response.status);
  if (code === undefined && passedStatuses.includes(response.status)) return statusFailure(response);
  if (code === undefined || (response.status >= 500 && response.status !== 503)) return undefined;
  const { detail } = (response.data ?? {}) as { detail?: unknown };
  return new Failure(code, {
    ...(typeof detail === 'string' && { detail }),
    ...retryAfterOf(response.headers),
    ...(response.status >= 500 && { cause: error }),
  });
}

/** Problem codes for statuses without a problem code (RFC 9110, section 15.5; RFC 6585, section 4). */
const problemsByStatus: ReadonlyMap<number, ProblemCode> = new Map([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [404, 'not-found'],
  [429, 'rate-limited'],
]);

/** Returns the failure for a status without a problem code. It omits the body but keeps Retry-After and WWW-Authenticate. */
function statusFailure({ status, headers }: Required<RespondedError>['response']): Failure | undefined {
  const code = problemsByStatus.get(status);
  if (code === undefined) return undefined;
  const passedChallenge = headers['www-authenticate'];
  return new Failure(code, {
    detail: 'A service behind the gateway returned this status.',
    ...retryAfterOf(headers),
    // A 401 must have a challenge (RFC 9110, section 15.5.2).
    ...(status === 401 && { challenge }),
    ...(typeof passedChallenge === 'string' && { challenge: passedChallenge }),
  });
}

/** Parses Retry-After (RFC 9110, section 10.2.3): a number of seconds or a date. Returns an empty object for any other text. */
function retryAfterOf({
  'retry-after': text,
}: Readonly<Record<string, unknown>>): Pick<FailureOptions, 'retryAfterSeconds'> {
  if (typeof text !== 'string') return {};
  if (/^\d{1,9}$/.test(text)) return { retryAfterSeconds: Number(text) };
  const date = parseHttpDate(text);
  return date === undefined ? {} : { retryAfterSeconds: Math.max(0, Math.ceil((date - Date.now()) / 1000)) };
}

function problemOf(header: unknown, status: number): ProblemCode | undefined {
  if (typeof header !== 'string') return undefined;
  const code = problemCodeOf(problemType(header as ProblemCode));
  return code !== undefined && problemTypes[code].status === status ? code : undefined;
}
