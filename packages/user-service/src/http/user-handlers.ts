import { addAuditDetails } from '@zerda/chassis/audit/audit-log';
import { forbidden, unauthenticated } from '@zerda/chassis/auth/bearer';
import { type Caller, unauthenticatedAdmin } from '@zerda/chassis/auth/caller';
import { requireAccessTo } from '@zerda/chassis/auth/ownership';
import type { Handlers } from '@zerda/chassis/http/api-router';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import type { KeyedRequest } from '@zerda/chassis/idempotency/key-table';
import type { NewUser, User as UserBody, userOperations } from '@zerda/contracts/user-service/users';
import type { ChangeUser } from '../domain/change-user.ts';
import type { RegisterUser } from '../domain/register-user.ts';
import type { Authority, User } from '../domain/user.ts';
import type { LoginLimits } from '../identity/login-limits.ts';
import type { PasswordTurn } from '../identity/password-queue.ts';
import { requireUncommon } from '../identity/password-rules.ts';
import { type Passwords, userClient } from '../identity/passwords.ts';
import type { UserStore } from '../store/user-store.ts';

export interface UserHandlersDependencies {
  readonly users: Pick<UserStore, 'list' | 'find' | 'count' | 'remove'>;
  readonly registerUser: RegisterUser;
  readonly changeUser: ChangeUser;
  readonly idempotency: Idempotency;
  readonly passwords: Pick<Passwords, 'requireCapacity'>;
  readonly limits: Pick<LoginLimits, 'count' | 'addressKey'>;
  readonly clientAddress: ClientAddress;
  /**
   * Returns fingerprints of a password, the first one under the current secret. They let idempotency compare passwords without
   * storing them. Undefined without AUTH_KEY_SECRET; requests that differ only in the password then count as the same.
   */
  readonly passwordFingerprints: ((password: string) => [string, ...string[]]) | undefined;
  /** Whether anonymous clients can create users. */
  readonly signUp: boolean;
  /**
   * Whether this service issues the access tokens, so that its database is authoritative for roles and passwords. Otherwise an
   * external issuer manages both, and the role comes from the token.
   */
  readonly issuesTokens: boolean;
}

/** Creates the handlers of all user operations, including their authorization. */
export function createUserHandlers({
  users,
  registerUser,
  changeUser,
  idempotency,
  passwords,
  limits,
  clientAddress,
  passwordFingerprints,
  signUp,
  issuesTokens,
}: UserHandlersDependencies): Handlers<typeof userOperations> {
  /** Returns the authority of a caller who acts as an admin. */
  function adminAuthority(caller: Caller | undefined): Authority {
    const isUser = issuesTokens && caller?.role === 'admin' && caller !== unauthenticatedAdmin;
    return { byAdmin: isUser ? caller.userId : undefined };
  }

  /** Replaces the password of the request by fingerprints, because the request is stored for a day. */
  function withFingerprints(keyed: KeyedRequest, user: NewUser, password: string | undefined): KeyedRequest {
    const placeholders: [string | boolean, ...string[]] =
      password === undefined ? [false] : (passwordFingerprints?.(password) ?? [true]);
    const [body, ...equalBodies] = placeholders.map((placeholder) => ({ ...user, password: placeholder }));
    return { ...keyed, body, equalBodies };
  }

  /** Returns the queue entry for a new password. The client is the user or, without one, the network of the address. */
  function turnOf(caller: Caller | undefined, address: string): PasswordTurn {
    const client = caller?.userId === undefined ? limits.addressKey(address) : userClient(caller.userId);
    return { kind: caller === undefined ? 'sign-up' : 'new-password', client };
  }

  return {
    async userHealth({ caller }) {
      // Queried for every caller, to verify that the database responds.
      const users_count = await users.count();
      const counts = caller?.role === 'admin' ? { users_count } : {};
      return { body: success({ service: 'user-service', status: 'healthy', ...counts }) };
    },
    async userStats() {
      return { body: success({ users: await users.count() }) };
    },
    async listUsers({ caller, query: { cursor, limit, role } }) {
      // No user has the id 0, so a caller without a user gets an empty list.
      const id = caller.role === 'admin' ? undefined : (caller.userId ?? 0);
      const { rows, next } = cutPage(await users.list({ after: cursor, limit: limit + 1, role, id }), limit);
      return { body: { ...success(rows.map(formatUser)), page: { next } } };
    },
    async getUser({ caller, params: { id } }) {
      requireAccessTo(caller, id);
      return userResponse(await users.find(id));
    },
    async createUser({ caller, body: { password, ...user }, keyed, request }) {
      addAuditDetails({ newRole: user.role });
      requireMayCreate(caller, user.role, signUp);
      const address = clientAddress(request);
      if (password !== undefined) {
        requireUncommon(password, user);
        passwords.requireCapacity(turnOf(caller, address));
      }
      if (caller === undefined) await limits.count('sign-up', { address });
      const registration = {
        user,
        password,
        turn: turnOf(caller, address),
        authority: adminAuthority(caller),
      };
      return idempotency.run(
        keyed && withFingerprints(keyed, user, password),
        (once) => registerUser({ ...registration, once }),
        createdResponse,
      );
    },
    async updateUser({ caller, params: { id }, body, precondition, request }) {
      const { password, current_password: currentPassword, ...change } = body;
      addAuditDetails({ changed: Object.keys(body).filter(isChange), newRole: change.role });
      requireAccessTo(caller, id);
      if (change.role !== undefined && caller.role !== 'admin')
        throw forbidden('Only admins can change roles.');
      const address = clientAddress(request);
      const isSelf = caller.userId === id;
      const user = await changeUser({
        id,
        change,
        password,
        currentPassword,
        isSelf,
        authority: isSelf && change.role === undefined ? {} : adminAuthority(caller),
        precondition,
        turn: turnOf(caller, address),
        address,
      });
      return userResponse(user);
    },
    async deleteUser({ caller, params: { id }, precondition }) {
      requireAccessTo(caller, id);
      await users.remove(id, precondition, caller.userId === id ? {} : adminAuthority(caller));
      return { body: success({ message: 'User deleted' }) };
    },
  };
}

function isChange(member: string): boolean {
  return member !== 'current_password';
}

function requireMayCreate(caller: Caller | undefined, role: UserBody['role'], signUp: boolean): void {
  if (caller?.role === 'admin') return;
  if (caller !== undefined) throw forbidden('Only admins can create users.');
  if (!signUp) throw unauthenticated();
  if (role === 'admin') throw forbidden('Only admins can assign the role admin.');
}

function createdResponse(user: User) {
  return { ...userResponse(user), location: `/api/users/${user.id}` };
}

function userResponse(user: User) {
  return { body: success(formatUser(user)), version: user.version };
}

function formatUser({ id, name, email, role, createdAt, updatedAt }: User): UserBody {
  return { id, name, email, role, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
}
