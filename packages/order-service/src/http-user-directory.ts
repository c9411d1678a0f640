import { unauthenticated } from '@zerda/chassis/auth/bearer';
import { Failure } from '@zerda/chassis/failure';
import { CircuitOpenError } from '@zerda/chassis/http-client/circuit-breaker';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import type { ProblemCode } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { isAxiosError } from 'axios';
import type { UserDirectory } from './domain/place-order.ts';

/** The code by which user-service says that it knows no such user; any other 404 says nothing about the user. */
const noSuchUser: ProblemCode = 'user-not-found';

/**
 * Asks user-service, in the name of the caller of the request in hand. Whatever else it answers, or does not, leaves the question
 * open.
 */
export function createHttpUserDirectory(userService: Pick<Upstream, 'get'>): UserDirectory {
  return {
    async exists(userId) {
      try {
        await userService.get(`/api/users/${userId}`);
        return true;
      } catch (error) {
        if (isAxiosError(error) && error.response?.headers[headerNames.problem] === noSuchUser) return false;
        // Their token has ended on the way.
        if (isAxiosError(error) && error.response?.status === 401) throw unauthenticated();
        if (error instanceof Failure) throw error;
        throw unavailable(error);
      }
    },
  };
}

function unavailable(cause: unknown): Failure {
  const retryAfterSeconds = cause instanceof CircuitOpenError ? cause.retryAfterSeconds : 1;
  return new Failure('dependency-unavailable', {
    detail: 'Whether the user exists could not be found out. Nothing was stored.',
    headers: { 'Retry-After': String(retryAfterSeconds) },
    cause,
  });
}
