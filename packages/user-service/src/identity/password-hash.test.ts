import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hash } from '@node-rs/argon2';
import { hashPassword, isOutdated, isPassword } from './password-hash.ts';

describe('a password hash', () => {
  it('matches only the correct password and detects outdated parameters', async () => {
    const passwordHash = await hashPassword('correct horse');
    assert.match(passwordHash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    assert.notEqual(await hashPassword('correct horse'), passwordHash, 'each hash has its own salt');
    assert.equal(await isPassword('correct horse', passwordHash), true);
    assert.equal(await isPassword('Correct horse', passwordHash), false);
    assert.equal(isOutdated(passwordHash), false);
    const outdated = await hash('correct horse', { memoryCost: 8192, timeCost: 1 });
    assert.equal(isOutdated(outdated), true);
    assert.equal(await isPassword('correct horse', outdated), true);
  });

  it('that is missing matches no password and takes the same time', async () => {
    const passwordHash = await hashPassword('correct horse');
    await isPassword('x', undefined);
    const measure = async (storedHash: string | undefined) => {
      const startedAt = performance.now();
      for (let count = 0; count < 10; count += 1) assert.equal(await isPassword('x', storedHash), false);
      return performance.now() - startedAt;
    };
    const [known, unknown] = [await measure(passwordHash), await measure(undefined)];
    assert.ok(unknown > known / 3 && unknown < known * 3, `${unknown} ms and ${known} ms`);
    assert.equal(await isPassword('a password of no user', undefined), false);
  });
});
