/** What a caller may do: everything, or what is their own. */
export type Role = 'admin' | 'user';

/** Who asks, as a verified token says. */
export interface Caller {
  /** Who it is at the issuer; unique there. */
  readonly subject: string;
  /** Their id in user-service; undefined for an identity that has none. */
  readonly userId: number | undefined;
  readonly role: Role;
}

/** Who asks when authentication is off: somebody who may do everything, and is nobody in particular. */
export const everybody: Caller = Object.freeze({ subject: 'everybody', userId: undefined, role: 'admin' });

/** Whether what belongs to this user is the caller's to read and change. */
export function mayActFor(caller: Caller, userId: number): boolean {
  return caller.role === 'admin' || caller.userId === userId;
}
