import { Failure } from '@zerda/chassis/failure';
import { type Precondition, requireMatch } from '@zerda/chassis/precondition';
import type { UserChange } from '@zerda/contracts/user-service/users';
import type { LimitedAction, LoginLimits } from '../identity/login-limits.ts';
import type { PasswordTurn } from '../identity/password-queue.ts';
import { requireUncommon } from '../identity/password-rules.ts';
import type { ConfirmPassword, Passwords } from '../identity/passwords.ts';
import type { Authority, User, WriteOptions } from './user.ts';

/** Stores changes of users. */
export interface ChangedUsers {
  /** @throws Failure `user-not-found` */
  find(id: number): Promise<User>;
  /**
   * Changes a user and writes its event.
   * @param options.confirm runs in the transaction, after the user was locked
   * @throws Failure `user-not-found`, `precondition-failed`, `email-taken`, `forbidden`
   */
  update(
    id: number,
    change: UserChange,
    precondition?: Precondition,
    options?: WriteOptions & { readonly confirm?: ConfirmPassword },
  ): Promise<User>;
}

export interface ChangeUserDependencies {
  readonly users: ChangedUsers;
  readonly passwords: Pick<Passwords, 'hash' | 'reauthenticate' | 'requireCapacity'>;
  readonly limits: Pick<LoginLimits, 'count'>;
  /** Whether this service issues the access tokens, and so stores the passwords of all callers. */
  readonly issuesTokens: boolean;
}

export interface ChangeRequest {
  readonly id: number;
  readonly change: UserChange;
  /** The new password; undefined if it does not change. */
  readonly password: string | undefined;
  readonly currentPassword: string | undefined;
  /** Whether users change themselves. */
  readonly isSelf: boolean;
  readonly authority: Authority;
  readonly precondition: Precondition | undefined;
  /** Queue entry for hashing the new password. */
  readonly turn: PasswordTurn;
  /** Address of the client. */
  readonly address: string;
}

/**
 * Changes a user. Users who change their own password or e-mail address must know their current password.
 * @throws Failure as `ChangedUsers.update`; `validation-failed` for a wrong or weak password, `login-throttled`, `login-overloaded`
 */
export type ChangeUser = (request: ChangeRequest) => Promise<User>;

/** Writes the change of a user with a new password, if there is one. */
type Write = (options?: { passwordHash?: string | undefined; confirm?: ConfirmPassword }) => Promise<User>;

export function createChangeUser({
  users,
  passwords,
  limits,
  issuesTokens,
}: ChangeUserDependencies): ChangeUser {
  /** An access token could be stolen, so the current password is checked too, if this service stores it. */
  async function changeOwnCredentials(
    { id, password, currentPassword, address }: ChangeRequest,
    { changesEmail, write }: { readonly changesEmail: boolean; readonly write: Write },
  ): Promise<User> {
    if (password === undefined && !issuesTokens) {
      await limits.count('new-email', { userId: id });
      return write();
    }
    if (currentPassword === undefined) throw wrongPassword('is required for this change');
    const claim = { account: { userId: id }, password: currentPassword, address };
    const actions: LimitedAction[] = [];
    if (password !== undefined) actions.push('new-password');
    if (changesEmail) actions.push('new-email');
    return passwords
      .reauthenticate(claim, { actions, newPassword: password }, (confirm, passwordHash) =>
        write({ confirm, passwordHash }),
      )
      .catch((error: unknown) => {
        throw error instanceof Failure && error.code === 'login-failed'
          ? wrongPassword('is not the current password')
          : error;
      });
  }

  return async (request) => {
    const { id, password, isSelf, authority, precondition, turn } = request;
    const { email, ...others } = request.change;
    if (password !== undefined) passwords.requireCapacity(turn);
    const user = await users.find(id);
    requireMatch(precondition, user.version);
    if (password !== undefined)
      requireUncommon(password, { email: email ?? user.email, name: others.name ?? user.name });

    const changesEmail = email !== undefined && email !== user.email;
    // An unchanged address is not written, because another request can change it before the transaction.
    const change = changesEmail ? { ...others, email } : others;
    const write: Write = (options) => users.update(id, change, precondition, { ...authority, ...options });
    if (isSelf && (password !== undefined || changesEmail))
      return changeOwnCredentials(request, { changesEmail, write });
    if (password === undefined) return write();
    return write({ passwordHash: await passwords.hash(password, turn) });
  };
}

function wrongPassword(message: string): Failure {
  return new Failure('validation-failed', { errors: [{ path: 'current_password', message }] });
}
