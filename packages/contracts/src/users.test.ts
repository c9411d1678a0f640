import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { newUser, userChange } from './users.ts';

describe('newUser', () => {
  it('takes a name and an e-mail address; the role is user', () => {
    assert.deepEqual(newUser.parse({ name: 'John Doe', email: 'John@Example.com' }), {
      name: 'John Doe',
      email: 'john@example.com',
      role: 'user',
    });
  });

  it('refuses unknown members, another role and what is no address', () => {
    const valid = { name: 'John', email: 'john@example.com' };
    for (const wrong of [
      { is_admin: true },
      { role: 'root' },
      { email: 'john' },
      { email: ' john@example.com' },
    ]) {
      assert.equal(newUser.safeParse({ ...valid, ...wrong }).success, false, JSON.stringify(wrong));
    }
    assert.equal(newUser.safeParse({ ...valid, email: `${'a'.repeat(250)}@b.cc` }).success, false);
  });
});

describe('userChange', () => {
  it('changes only what is given: no default fills in a role', () => {
    assert.deepEqual(userChange.parse({ name: 'Ann' }), { name: 'Ann' });
  });

  it('refuses to change nothing', () => {
    assert.equal(userChange.safeParse({}).success, false);
  });
});
