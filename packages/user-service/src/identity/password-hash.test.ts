import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hash } from '@node-rs/argon2';
import { hashPassword, isOutdated, isPassword } from './password-hash.ts';

describe('a password hash', () => {
  it('tells the right password from others, and a hash of today from one of old', async () => {
    const made = await hashPassword('correct horse');
    assert.match(made, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    assert.notEqual(await hashPassword('correct horse'), made, 'each with a salt of its own');
    assert.equal(await isPassword('correct horse', made), true);
    assert.equal(await isPassword('Correct horse', made), false);
    assert.equal(isOutdated(made), false);
    const old = await hash('correct horse', { memoryCost: 8192, timeCost: 1 });
    assert.equal(isOutdated(old), true);
    assert.equal(await isPassword('correct horse', old), true);
  });

  it('that is not there is no password, after the time that looking takes', async () => {
    const made = await hashPassword('correct horse');
    await isPassword('x', undefined);
    const times = async (given: string | undefined) => {
      const begun = performance.now();
      for (let count = 0; count < 10; count += 1) assert.equal(await isPassword('x', given), false);
      return performance.now() - begun;
    };
    const [known, unknown] = [await times(made), await times(undefined)];
    assert.ok(unknown > known / 3 && unknown < known * 3, `${unknown} ms and ${known} ms`);
    assert.equal(await isPassword('a password that nobody has', undefined), false);
  });
});
