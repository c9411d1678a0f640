import type { Handlers } from '@zerda/chassis/http/api-router';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { User, userOperations } from '@zerda/contracts/users';
import type { StoredUser } from '../store/tables.ts';
import type { UserStore } from '../store/user-store.ts';

/** What answers each operation of the user service's contract. */
export function createUserHandlers(users: UserStore): Handlers<typeof userOperations> {
  return {
    async userHealth() {
      const users_count = await users.count();
      return { body: success({ service: 'user-service', status: 'healthy', users_count }) };
    },
    async userStats() {
      return { body: success({ users: await users.count() }) };
    },
    async listUsers({ query: { cursor, limit, role } }) {
      const { rows, next } = cutPage(await users.list({ after: cursor, limit: limit + 1, role }), limit);
      return { body: { ...success(rows.map(show)), page: { next } } };
    },
    async getUser({ params: { id } }) {
      return one(await users.find(id));
    },
    createUser({ body, keyed }) {
      return users.create(body, keyed, (user) => ({ ...one(user), location: `/api/users/${user.id}` }));
    },
    async updateUser({ params: { id }, body, ifMatch }) {
      return one(await users.update(id, body, ifMatch));
    },
    async deleteUser({ params: { id }, ifMatch }) {
      await users.remove(id, ifMatch);
      return { body: success({ message: 'User deleted' }) };
    },
  };
}

function one(user: StoredUser) {
  return { body: success(show(user)), version: user.version };
}

function show({ id, name, email, role, createdAt, updatedAt }: StoredUser): User {
  return { id, name, email, role, created_at: createdAt.toISOString(), updated_at: updatedAt.toISOString() };
}
