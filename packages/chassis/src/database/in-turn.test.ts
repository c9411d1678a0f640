import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { isFailure } from '../testing.ts';
import { createInTurn } from './in-turn.ts';

describe('works in turn', () => {
  it('run one after the other for one key, in their order, and at once for several keys', async () => {
    const turns = createInTurn();
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const run = (key: number, name: string) =>
      turns.run(key, () => {
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

  it('go on after one that fails, and skip a request whose time is over', async () => {
    const turns = createInTurn();
    const failed = turns.run(1, () => Promise.reject(new Error('failed')));
    const late = runInContext({ correlationId: 'late', deadline: Deadline.after(0) }, () =>
      turns.run(1, async () => assert.fail('must not run')),
    );
    const next = turns.run(1, async () => 'next');
    await assert.rejects(failed, /failed/);
    await assert.rejects(late, isFailure('deadline-exceeded'));
    assert.equal(await next, 'next');
  });
});
