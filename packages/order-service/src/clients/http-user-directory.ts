import { unauthenticated } from '@zerda/chassis/auth/bearer';
import { Failure } from '@zerda/chassis/failure';
import type { ProblemCode } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { CircuitOpenError } from '@zerda/upstream/circuit-breaker';
import type { Upstream } from '@zerda/upstream/upstream';
import { isAxiosError } from 'axios';
import type { UserDirectory } from '../domain/place-order.ts';

/** Problem code for an unknown user. Any other 404 gives no information about the user. */
const userNotFound: ProblemCode = 'user-not-found';

/**
 * Creates a directory that calls user-service with the access token of the current request. Any response other than success,
 * `user-not-found` or 401 is reported as `dependency-unavailable`.
 */
export function createHttpUserDirectory(userService: Pick<Upstream, 'get'>): UserDirectory {
  return {
    async exists(userId) {
      try {
        await userService.get(`/api/users/${userId}`, { template: '/api/users/{id}' });
        return true;
      } catch (error) {
        if (isAxiosError(error) && error.response?.headers[headerNames.problem] === userNotFound)
          return false;
        // The token expired in the meantime.
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
    detail: 'User-service did not respond, so the user could not be verified. Nothing was stored.',
    retryAfterSeconds,
    cause,
  });
}
