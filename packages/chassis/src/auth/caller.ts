/** Role of a caller: `admin` has access to everything, `user` to their own data. */
export type Role = 'admin' | 'user';

/** The identity of a verified access token. */
export interface Caller {
  /** Subject (`sub`), unique at the issuer. */
  readonly subject: string;
  /** Id of the user in user-service; undefined if the token has none. */
  readonly userId: number | undefined;
  readonly role: Role;
}

/** Caller of every request when authentication is off: an admin without a user. */
export const unauthenticatedAdmin: Caller = Object.freeze({
  subject: 'everybody',
  userId: undefined,
  role: 'admin',
});
