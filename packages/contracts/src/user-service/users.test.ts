import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { email, newUser, userChange } from './users.ts';

describe('newUser', () => {
  it('accepts a name and an e-mail address and defaults the role to user', () => {
    assert.deepEqual(newUser.parse({ name: 'John Doe', email: 'John@Example.com' }), {
      name: 'John Doe',
      email: 'john@example.com',
      role: 'user',
    });
  });

  it('rejects unknown members, unknown roles and invalid addresses', () => {
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

// RFC 5321, sections 4.1.2 and 4.5.3.1; RFC 5322, section 3.2.3.
describe('email', () => {
  it('accepts dot-strings with a domain name, including internationalized names in ASCII', () => {
    for (const address of [
      'a&b@example.com',
      "!#$%&'*+-/=?^_`{|}~@example.com",
      'user@example.xn--p1ai',
      'user@xn--bcher-kva.example',
      'user@xn--80ak6aa92e.com',
      'first.last+tag@sub.example.co.uk',
      "o'@example.com",
      '-@example.com',
      '1@1.example',
      `${'a'.repeat(64)}@example.com`,
      `a@${'b'.repeat(63)}.com`,
      `${'a'.repeat(64)}@${`${'b'.repeat(60)}.`.repeat(3)}example`.slice(0, 254),
    ])
      assert.equal(email.safeParse(address).success, true, address);
  });

  it('rejects invalid addresses and unsupported forms', () => {
    for (const address of [
      '.a@example.com',
      'a.@example.com',
      'a..b@example.com',
      'a@example',
      'a@example.c',
      'a@-example.com',
      'a@example-.com',
      'a@exa_mple.com',
      'a@example..com',
      'a@.example.com',
      'a@example.com.',
      'a@example.123',
      'a@192.0.2.1',
      `a@${'b'.repeat(64)}.com`,
      `${'a'.repeat(65)}@example.com`,
      `a@${'b.'.repeat(130)}com`,
      'a b@example.com',
      'a@b@example.com',
      'a@example.com\n',
      'a(comment)@example.com',
      '"a b"@example.com',
      'a@[192.0.2.1]',
      'ä@example.com',
      'a@bücher.example',
      '\u212a@example.com',
    ])
      assert.equal(email.safeParse(address).success, false, address);
  });

  it('takes linear time on hostile text', () => {
    const startedAt = performance.now();
    for (const text of [
      `${'a.'.repeat(50_000)}@`,
      `a@${'b.'.repeat(50_000)}`,
      `a@${'b-'.repeat(50_000)}`,
      '@'.repeat(100_000),
    ])
      assert.equal(email.safeParse(text).success, false);
    assert.ok(performance.now() - startedAt < 500);
  });
});

describe('userChange', () => {
  it('applies no default role', () => {
    assert.deepEqual(userChange.parse({ name: 'Ann' }), { name: 'Ann' });
  });

  it('rejects an empty change', () => {
    assert.equal(userChange.safeParse({}).success, false);
  });
});
