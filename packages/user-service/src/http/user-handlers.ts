import { forbidden, unauthenticated } from '@zerda/chassis/auth/bearer';
import { type Caller, mayActFor } from '@zerda/chassis/auth/caller';
import { Failure } from '@zerda/chassis/failure';
import type { Handlers } from '@zerda/chassis/http/api-router';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { User, userOperations } from '@zerda/contracts/users';
import type { CheckPassword } from '../identity/check-password.ts';
import { setPassword } from '../identity/credentials.ts';
import { hashPassword } from '../identity/password-hash.ts';
import { requireUncommon } from '../identity/password-rules.ts';
import type { PasswordWork } from '../identity/password-work.ts';
import type { StoredUser } from '../store/tables.ts';
import type { Beside, UserStore } from '../store/user-store.ts';

export interface UserHandlersDependencies {
  readonly users: UserStore;
  readonly passwordWork: Pick<PasswordWork, 'run'>;
  readonly checkPassword: CheckPassword;
  readonly clientAddress: ClientAddress;
  /** Whether anybody may make a user of their own. */
  readonly signUp: boolean;
}

/** What answers each operation of the user service's contract, to those who may ask. */
export function createUserHandlers({
  users,
  passwordWork,
  checkPassword,
  clientAddress,
  signUp,
}: UserHandlersDependencies): Handlers<typeof userOperations> {
  /** Hashed before the transaction, which is not to wait for that. */
  async function withPassword(password: string | undefined): Promise<Beside | undefined> {
    if (password === undefined) return undefined;
    const passwordHash = await passwordWork.run(() => hashPassword(password));
    return (tx, { id }) => setPassword(tx, id, passwordHash);
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
    async createUser({ caller, body: { password, ...user }, keyed }) {
      requireMayCreate(caller, user.role, signUp);
      if (password !== undefined) requireUncommon(password, user);
      return users.create(
        user,
        // What is kept of the request for a day must not tell the password.
        keyed && { ...keyed, body: { ...user, password: password !== undefined } },
        (stored) => ({ ...one(stored), location: `/api/users/${stored.id}` }),
        await withPassword(password),
      );
    },
    async updateUser({ caller, params: { id }, body, ifMatch, request }) {
      const { password, current_password: current, ...change } = body;
      requireOwn(caller, id);
      if (change.role !== undefined && caller.role !== 'admin') throw forbidden('Roles are given by admins.');
      if (password !== undefined) {
        const user = await users.find(id);
        if (caller.userId === id) {
          if (current === undefined) throw wrongPassword('must be given, too');
          await checkPassword({
            email: user.email,
            password: current,
            address: clientAddress(request),
          }).catch((error: unknown) => {
            throw error instanceof Failure && error.code === 'login-failed'
              ? wrongPassword('is not the current password')
              : error;
          });
        }
        requireUncommon(password, { email: change.email ?? user.email, name: change.name ?? user.name });
      }
      return one(await users.update(id, change, ifMatch, await withPassword(password)));
    },
    async deleteUser({ caller, params: { id }, ifMatch }) {
      requireOwn(caller, id);
      await users.remove(id, ifMatch);
      return { body: success({ message: 'User deleted' }) };
    },
  };
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
