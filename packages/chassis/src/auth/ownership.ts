import { forbidden } from './bearer.ts';
import type { Caller } from './caller.ts';

/**
 * Checks that the caller may read and change the data of this user. It looks only at the id, so that the response does not reveal whether
 * the user exists.
 * @throws Failure `forbidden`
 */
export function requireAccessTo({ role, userId: callerId }: Caller, userId: number): void {
  if (role !== 'admin' && callerId !== userId) throw forbidden('The resource belongs to another user.');
}

/** Returns the owner whose data the caller can see; undefined for all. No user has the id 0, which callers without a user get. */
export function ownerFilter({ role, userId }: Caller): number | undefined {
  return role === 'admin' ? undefined : (userId ?? 0);
}
