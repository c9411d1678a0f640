import type { Once } from '@zerda/chassis/idempotency/idempotency';
import type { NewUser } from '@zerda/contracts/user-service/users';
import type { PasswordTurn } from '../identity/password-queue.ts';
import type { Passwords } from '../identity/passwords.ts';
import type { Authority, User, WriteOptions } from './user.ts';

/** Stores new users. */
export interface RegisteredUsers {
  /** Checks an e-mail address before slow work; `create` checks it again. @throws Failure `email-taken` */
  requireFreeEmail(email: string): Promise<void>;
  /**
   * Stores a user with its event.
   * @param options.once wraps the writes; by default they always run
   * @throws Failure `email-taken`, `forbidden`
   */
  create(user: NewUser, options?: WriteOptions & { readonly once?: Once<User> | undefined }): Promise<User>;
}

export interface RegisterUserDependencies {
  readonly users: RegisteredUsers;
  readonly passwords: Pick<Passwords, 'hash'>;
}

export interface Registration {
  readonly user: NewUser;
  /** Undefined for a user without a password. */
  readonly password: string | undefined;
  /** Queue entry for hashing the password. */
  readonly turn: PasswordTurn;
  readonly authority: Authority;
  readonly once?: Once<User>;
}

/**
 * Creates a user, with a password if there is one. The password is hashed before the transaction, and only if the e-mail address is
 * free.
 * @throws Failure `email-taken`, `forbidden`, `login-overloaded`
 */
export type RegisterUser = (registration: Registration) => Promise<User>;

export function createRegisterUser({ users, passwords }: RegisterUserDependencies): RegisterUser {
  return async ({ user, password, turn, authority, once }) => {
    if (password === undefined) return users.create(user, { ...authority, once });
    await users.requireFreeEmail(user.email);
    const passwordHash = await passwords.hash(password, turn);
    return users.create(user, { ...authority, once, passwordHash });
  };
}
