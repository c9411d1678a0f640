import { forbidden, unauthenticated } from '@zerda/chassis/auth/bearer';
import { type Caller, everybody, mayActFor } from '@zerda/chassis/auth/caller';
import { Failure } from '@zerda/chassis/failure';
import type { Handlers } from '@zerda/chassis/http/api-router';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { requireMatch } from '@zerda/chassis/http/entity-tag';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { KeyedRequest } from '@zerda/chassis/idempotency/idempotency';
import type { NewUser, User, userOperations } from '@zerda/contracts/users';
import { setPassword } from '../identity/credentials.ts';
import type { LimitedAction, LoginLimits } from '../identity/login-limits.ts';
import type { PasswordTurn } from '../identity/password-queue.ts';
import { requireUncommon } from '../identity/password-rules.ts';
import { type Passwords, userClient } from '../identity/passwords.ts';
import type { StoredUser } from '../store/tables.ts';
import type { Authority, Beside, UserStore } from '../store/user-store.ts';

export interface UserHandlersDependencies {
  readonly users: UserStore;
  readonly passwords: Pick<Passwords, 'hash' | 'reauthenticate' | 'requirePlace'>;
  readonly limits: Pick<LoginLimits, 'count' | 'addressKey'>;
  readonly clientAddress: ClientAddress;
  /**
   * Fingerprints of a password, the first under the secret in use: a repeat of a request is the same only with the same password, and
   * what is stored of it must not allow guesses. Undefined without AUTH_KEY_SECRET: then another issuer logs users in, or there is no
   * authentication, and requests that differ only in the password count as the same.
   */
  readonly passwordFingerprints: ((password: string) => [string, ...string[]]) | undefined;
  /** Whether an anonymous client may create a user of its own. */
  readonly signUp: boolean;
  /**
   * Whether this service issues the access tokens, so that roles and passwords are those of its database. Otherwise another issuer
   * has both, and a role is what the token says.
   */
  readonly issuesTokens: boolean;
}

/** The handlers of the user service's operations. */
export function createUserHandlers({
  users,
  passwords,
  limits,
  clientAddress,
  passwordFingerprints,
  signUp,
  issuesTokens,
}: UserHandlersDependencies): Handlers<typeof userOperations> {
  /** The authority of a caller who acts as an admin. */
  function asAdmin(caller: Caller | undefined): Authority {
    const isUser = issuesTokens && caller?.role === 'admin' && caller !== everybody;
    return { byAdmin: isUser ? caller.userId : undefined };
  }

  /** The request with fingerprints in place of the password: what is stored of it for a day must not contain the password. */
  function withFingerprints(keyed: KeyedRequest, user: NewUser, password: string | undefined): KeyedRequest {
    const marks: [string | boolean, ...string[]] =
      password === undefined ? [false] : (passwordFingerprints?.(password) ?? [true]);
    const [body, ...equalBodies] = marks.map((mark) => ({ ...user, password: mark }));
    return { ...keyed, body, equalBodies };
  }

  /** The turn of a new password: clients are users, else networks of addresses. */
  function turnOf(caller: Caller | undefined, address: string): PasswordTurn {
    const client = caller?.userId === undefined ? limits.addressKey(address) : userClient(caller.userId);
    return { kind: caller === undefined ? 'sign-up' : 'new-password', client };
  }

  /**
   * Changes what a user proves their identity by. An access token alone, which may be stolen, does not do: the current password is
   * checked, where this service has it.
   */
  async function writeOwn(
    { id, address, current, password, movesEmail }: OwnChange,
    write: Write,
  ): Promise<StoredUser> {
    if (password === undefined && !issuesTokens) {
      await limits.count('new-email', { userId: id });
      return write();
    }
    if (current === undefined) throw wrongPassword('must be given, too');
    const claim = { account: { userId: id }, password: current, address };
    const actions: LimitedAction[] = [];
    if (password !== undefined) actions.push('new-password');
    if (movesEmail) actions.push('new-email');
    return passwords
      .reauthenticate(claim, { actions, newPassword: password }, (confirm, newHash) =>
        write(async (tx) => {
          await confirm(tx);
          if (newHash !== undefined) await setPassword(tx, id, newHash);
        }),
      )
      .catch((error: unknown) => {
        throw error instanceof Failure && error.code === 'login-failed'
          ? wrongPassword('is not the current password')
          : error;
      });
  }

  return {
    async userHealth({ caller }) {
      // Counted for every caller, because it shows that the database responds.
      const users_count = await users.count();
      const counts = caller?.role === 'admin' ? { users_count } : {};
      return { body: success({ service: 'user-service', status: 'healthy', ...counts }) };
    },
    async userStats() {
      return { body: success({ users: await users.count() }) };
    },
    async listUsers({ caller, query: { cursor, limit, role } }) {
      // Of an identity that is no user there is nobody, and nobody has the id 0.
      const only = caller.role === 'admin' ? undefined : (caller.userId ?? 0);
      const { rows, next } = cutPage(
        await users.list({ after: cursor, limit: limit + 1, role, only }),
        limit,
      );
      return { body: { ...success(rows.map(show)), page: { next } } };
    },
    async getUser({ caller, params: { id } }) {
      requireOwn(caller, id);
      return one(await users.find(id));
    },
    async createUser({ caller, body: { password, ...user }, keyed, request }) {
      requireMayCreate(caller, user.role, signUp);
      const address = clientAddress(request);
      if (password !== undefined) {
        requireUncommon(password, user);
        passwords.requirePlace(turnOf(caller, address));
      }
      if (caller === undefined) await limits.count('sign-up', { address });
      return users.create(
        user,
        keyed && withFingerprints(keyed, user, password),
        (stored) => ({ ...one(stored), location: `/api/users/${stored.id}` }),
        {
          ...asAdmin(caller),
          prepare:
            password === undefined
              ? undefined
              : async () => {
                  const hash = await passwords.hash(password, turnOf(caller, address));
                  return (tx, { id }) => setPassword(tx, id, hash);
                },
        },
      );
    },
    async updateUser({ caller, params: { id }, body, precondition, request }) {
      const { password, current_password: current, email, ...others } = body;
      requireOwn(caller, id);
      if (others.role !== undefined && caller.role !== 'admin') throw forbidden('Roles are given by admins.');
      const address = clientAddress(request);
      if (password !== undefined) passwords.requirePlace(turnOf(caller, address));
      const user = await users.find(id);
      requireMatch(precondition, user.version);
      if (password !== undefined)
        requireUncommon(password, { email: email ?? user.email, name: others.name ?? user.name });

      const isOwn = caller.userId === id;
      const authority = isOwn && others.role === undefined ? {} : asAdmin(caller);
      const movesEmail = email !== undefined && email !== user.email;
      // An address that is the same now is not written: it may change before the transaction.
      const change = movesEmail ? { ...others, email } : others;
      const write: Write = (beside) => users.update(id, change, precondition, { ...authority, beside });
      if (isOwn && (password !== undefined || movesEmail))
        return one(await writeOwn({ id, address, current, password, movesEmail }, write));
      if (password === undefined) return one(await write());
      const hash = await passwords.hash(password, turnOf(caller, address));
      return one(await write((tx) => setPassword(tx, id, hash)));
    },
    async deleteUser({ caller, params: { id }, precondition }) {
      requireOwn(caller, id);
      await users.remove(id, precondition, caller.userId === id ? {} : asAdmin(caller));
      return { body: success({ message: 'User deleted' }) };
    },
  };
}

/** Writes the change of a user, and `beside` in the same transaction. */
type Write = (beside?: Beside) => Promise<StoredUser>;

/** A change of a user's own password or e-mail address. */
interface OwnChange {
  readonly id: number;
  readonly address: string;
  readonly current: string | undefined;
  /** The new password, when it changes. */
  readonly password: string | undefined;
  readonly movesEmail: boolean;
}

/** Decided by the id alone, before anybody looks whether it exists. */
function requireOwn(caller: Caller, id: number): void {
  if (!mayActFor(caller, id)) throw forbidden('This concerns another user.');
}

function requireMayCreate(caller: Caller | undefined, role: User['role'], signUp: boolean): void {
  if (caller?.role === 'admin') return;
  if (caller !== undefined) throw forbidden('Users are made by admins.');
  if (!signUp) throw unauthenticated();
  if (role === 'admin') throw forbidden('Roles are given by admins.');
}

function wrongPassword(message: string): Failure {
  return new Failure('validation-failed', { errors: [{ path: 'current_password', message }] });
}

function one(user: StoredUser) {
  return { body: success(show(user)), version: user.version };
}

function show({ id, name, email, role, createdAt, updatedAt }: StoredUser): User {
  return { id, name, email, role, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
}
