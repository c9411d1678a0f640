import { Failure } from '@zerda/chassis/failure';
import {
  BulkheadFullError,
  isUnresolved,
  UpstreamTimeoutError,
} from '@zerda/chassis/http-client/call-outcome';
import { CircuitOpenError } from '@zerda/chassis/http-client/circuit-breaker';
import { type ProblemCode, problemCodeOf, problemType, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';

/** What the caller is told when a call to an upstream has no answer that could be passed on. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof CircuitOpenError) {
    return new Failure('upstream-unavailable', {
      detail: `${error.message}.`,
      headers: { 'Retry-After': String(error.retryAfterSeconds) },
    });
  }
  if (error instanceof BulkheadFullError) {
    return new Failure('upstream-overloaded', {
      detail: `${error.message}.`,
      headers: { 'Retry-After': '1' },
    });
  }
  if (error instanceof UpstreamTimeoutError) {
    return new Failure('upstream-timeout', { detail: `${error.message}.`, cause: error });
  }
  if (isUnresolved(error)) {
    return new Failure('upstream-unavailable', {
      detail: 'It has no address at the moment.',
      headers: { 'Retry-After': '1' },
      cause: error,
    });
  }
  return answeredFailure(error) ?? new Failure('upstream-failed', { cause: error });
}

interface AnsweredError {
  readonly response?: {
    readonly status: number;
    readonly headers: Readonly<Record<string, unknown>>;
    readonly data: unknown;
  };
}

/**
 * What an upstream refuses is refused in its own words, and so is a 503 that says when to come back. Any other error
 * it answers is a failure of its own, which the caller can do nothing about.
 */
function answeredFailure(error: unknown): Failure | undefined {
  const { response } = error as AnsweredError;
  if (response === undefined) return undefined;
  const code = problemOf(response.headers[headerNames.problem], response.status);
  if (code === undefined || (response.status >= 500 && response.status !== 503)) return undefined;
  const { detail } = (response.data ?? {}) as { detail?: unknown };
  const retryAfter = response.headers['retry-after'];
  return new Failure(code, {
    ...(typeof detail === 'string' && { detail }),
    ...(typeof retryAfter === 'string' && { headers: { 'Retry-After': retryAfter } }),
    ...(response.status >= 500 && { cause: error }),
  });
}

function problemOf(header: unknown, status: number): ProblemCode | undefined {
  if (typeof header !== 'string') return undefined;
  const code = problemCodeOf(problemType(header as ProblemCode));
  return code !== undefined && problemTypes[code].status === status ? code : undefined;
}
