import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hash } from '@node-rs/argon2';
import { Failure } from '@zerda/chassis/failure';
import { createPasswordHasher } from './password-hasher.ts';

const overloaded = (error: unknown) =>
  error instanceof Failure && error.code === 'login-overloaded' && error.headers['Retry-After'] === '1';

describe('a password hasher', () => {
  it('tells the right password from others, and a hash of today from one of old', async () => {
    const hasher = createPasswordHasher({ concurrency: 2, queue: 10 });
    const made = await hasher.hash('correct horse');
    assert.match(made, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    assert.notEqual(await hasher.hash('correct horse'), made, 'each with a salt of its own');
    assert.equal(await hasher.verify(made, 'correct horse'), true);
    assert.equal(await hasher.verify(made, 'Correct horse'), false);
    assert.equal(hasher.isOutdated(made), false);
    const old = await hash('correct horse', { memoryCost: 8192, timeCost: 1 });
    assert.equal(hasher.isOutdated(old), true);
    assert.equal(await hasher.verify(old, 'correct horse'), true);
  });

  it('says no where there is no hash, after the time that looking takes', async () => {
    const hasher = createPasswordHasher({ concurrency: 1, queue: 10 });
    const made = await hasher.hash('correct horse');
    await hasher.verify(undefined, 'x');
    const times = async (given: string | undefined) => {
      const begun = performance.now();
      for (let count = 0; count < 10; count += 1) assert.equal(await hasher.verify(given, 'x'), false);
      return performance.now() - begun;
    };
    const [known, unknown] = [await times(made), await times(undefined)];
    assert.ok(unknown > known / 3 && unknown < known * 3, `${unknown} ms and ${known} ms`);
    assert.equal(await hasher.verify(undefined, 'a password that nobody has'), false);
  });

  it('does so many at a time, lets so many wait, and refuses the rest at once', async () => {
    const hasher = createPasswordHasher({ concurrency: 2, queue: 3 });
    const all = Array.from({ length: 9 }, () => hasher.hash('correct horse'));
    assert.deepEqual(hasher.load, { running: 2, waiting: 3 });
    assert.throws(() => hasher.requireRoom(), overloaded);
    const results = await Promise.allSettled(all);
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    assert.equal(refused.length, 4);
    assert.ok(refused.every(overloaded));
    assert.deepEqual(hasher.load, { running: 0, waiting: 0 });
    hasher.requireRoom();
    await hasher.hash('correct horse');
  });
});
