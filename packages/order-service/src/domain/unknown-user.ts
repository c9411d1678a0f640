import { Failure } from '@zerda/chassis/failure';

/** Refuses an order whose user does not exist, or no longer. */
export function unknownUser(): Failure {
  return new Failure('unknown-user', { errors: [{ path: 'user_id', message: 'is not the id of a user' }] });
}
