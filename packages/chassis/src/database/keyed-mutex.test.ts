import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isFailure } from '../../testing/observed.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { createKeyedMutex } from './keyed-mutex.ts';

describe('keyed mutex', () => {
  it('runs operations of one key in order and of several keys concurrently', async () => {
    const mutex = createKeyedMutex();
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const run = (key: number, name: string) =>
      mutex.run(key, () => {
        started.push(name);
        return new Promise<void>((resolve) => ends.push(resolve));
      });
    const all = [run(1, 'a'), run(1, 'b'), run(2, 'c'), run(1, 'd')];
    for (let ended = 0; ended < all.length; ended += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (ended === 0) assert.deepEqual(started, ['a', 'c']);
      ends.shift()?.();
    }
    await Promise.all(all);
    assert.deepEqual(started, ['a', 'c', 'b', 'd']);
  });

  it('continues after a failed operation and skips requests whose deadline has expired', async () => {
    const mutex = createKeyedMutex();
    const failed = mutex.run(1, () => Promise.reject(new Error('failed')));
    const late = runInContext({ correlationId: 'late', deadline: Deadline.after(0) }, () =>
      mutex.run(1, async () => assert.fail('must not run')),
    );
    const next = mutex.run(1, async () => 'next');
    await assert.rejects(failed, /failed/);
    await assert.rejects(late, isFailure('deadline-exceeded'));
    assert.equal(await next, 'next');
  });
});
