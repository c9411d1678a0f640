import { Failure } from '@zerda/chassis/failure';

/** Returns the failure for an order whose user does not exist or was deleted. */
export function unknownUser(): Failure {
  return new Failure('unknown-user', { errors: [{ path: 'user_id', message: 'is not the id of a user' }] });
}
