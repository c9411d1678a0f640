import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import type { Once } from '@zerda/chassis/idempotency/idempotency';
import { isFailure } from '@zerda/chassis/testing/observed';
import { createRegisterUser, type RegisteredUsers } from './register-user.ts';
import type { User } from './user.ts';

const user = { name: 'Ada', email: 'ada@example.com', role: 'user' } as const;
const stored = { id: 1 } as User;
const turn = { kind: 'sign-up', client: 'a' } as const;
const authority = { byAdmin: 7 };
const once: Once<User> = (_tx, write) => write();

/** Returns the use case and the list of its calls. @param taken whether another user has the e-mail address */
function createUseCase(taken = false) {
  const calls: unknown[] = [];
  const users: RegisteredUsers = {
    async requireFreeEmail() {
      if (taken) throw new Failure('email-taken');
    },
    async create(...args) {
      calls.push(args);
      return stored;
    },
  };
  const passwords = {
    async hash(password: string) {
      calls.push(`hash ${password}`);
      return 'the hash';
    },
  };
  return { calls, registerUser: createRegisterUser({ users, passwords }) };
}

describe('registerUser', () => {
  it('hashes the password before it stores the user', async () => {
    const { calls, registerUser } = createUseCase();
    assert.equal(await registerUser({ user, password: 'secret', turn, authority, once }), stored);
    assert.deepEqual(calls, ['hash secret', [user, { byAdmin: 7, once, passwordHash: 'the hash' }]]);
  });

  it('does not hash the password if the e-mail address is taken', async () => {
    const { calls, registerUser } = createUseCase(true);
    const registering = registerUser({ user, password: 'secret', turn, authority });
    await assert.rejects(registering, isFailure('email-taken'));
    assert.deepEqual(calls, []);
  });

  it('stores a user without a password', async () => {
    const { calls, registerUser } = createUseCase();
    await registerUser({ user, password: undefined, turn, authority, once });
    assert.deepEqual(calls, [[user, { byAdmin: 7, once }]]);
  });
});
