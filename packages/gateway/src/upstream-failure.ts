import { challenge } from '@zerda/chassis/auth/bearer';
import { Failure } from '@zerda/chassis/failure';
import {
  BulkheadFullError,
  isUnresolved,
  UpstreamTimeoutError,
} from '@zerda/chassis/http-client/call-outcome';
import { CircuitOpenError } from '@zerda/chassis/http-client/circuit-breaker';
import { type ProblemCode, problemCodeOf, problemType, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';

/**
 * Returns what the caller gets when a call to an upstream has no answer that could be passed on.
 * @param keptStatuses statuses that keep their meaning although they come without a problem of ours; none by default
 */
export function toFailure(error: unknown, keptStatuses: readonly number[] = []): Failure {
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
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'UND_ERR_BODY_TIMEOUT')
    return new Failure('upstream-timeout', {
      detail: 'The rest of its response did not come.',
      cause: error,
    });
  if (isUnresolved(error)) {
    return new Failure('upstream-unavailable', {
      detail: 'It has no address at the moment.',
      headers: { 'Retry-After': '1' },
      cause: error,
    });
  }
  return answeredFailure(error, keptStatuses) ?? new Failure('upstream-failed', { cause: error });
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
function answeredFailure(error: unknown, keptStatuses: readonly number[]): Failure | undefined {
  const { response } = error as AnsweredError;
  if (response === undefined) return undefined;
  const code = problemOf(response.headers[headerNames.problem], response.status);
  if (code === undefined && keptStatuses.includes(response.status)) return foreignFailure(response);
  if (code === undefined || (response.status >= 500 && response.status !== 503)) return undefined;
  const { detail } = (response.data ?? {}) as { detail?: unknown };
  const retryAfter = response.headers['retry-after'];
  return new Failure(code, {
    ...(typeof detail === 'string' && { detail }),
    ...(typeof retryAfter === 'string' && { headers: { 'Retry-After': retryAfter } }),
    ...(response.status >= 500 && { cause: error }),
  });
}

/** Problems of ours that say what statuses of any service mean (RFC 9110, section 15.5; RFC 6585, section 4). */
const meanings: ReadonlyMap<number, ProblemCode> = new Map([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [404, 'not-found'],
  [429, 'rate-limited'],
]);

/** A refusal by a service that knows no problems of ours: its words are not repeated, its headers that tell what to do are. */
function foreignFailure({ status, headers }: Required<AnsweredError>['response']): Failure | undefined {
  const code = meanings.get(status);
  if (code === undefined) return undefined;
  const kept = [
    ['Retry-After', headers['retry-after']],
    ['WWW-Authenticate', headers['www-authenticate']],
  ].filter((pair): pair is [string, string] => typeof pair[1] === 'string');
  // A 401 must have a challenge (RFC 9110, section 15.5.2).
  const challenged =
    status === 401 ? { ...challenge, ...Object.fromEntries(kept) } : Object.fromEntries(kept);
  return new Failure(code, {
    detail: 'A service behind the gateway returned this status.',
    headers: challenged,
  });
}

function problemOf(header: unknown, status: number): ProblemCode | undefined {
  if (typeof header !== 'string') return undefined;
  const code = problemCodeOf(problemType(header as ProblemCode));
  return code !== undefined && problemTypes[code].status === status ? code : undefined;
}
