import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { withTimeout } from './with-timeout.ts';

const never = new Promise<never>(() => undefined);

describe('withTimeout', () => {
  it('returns the outcome of a promise that settles in time', async () => {
    assert.equal(await withTimeout(Promise.resolve(1), 60_000, () => 2), 1);
    await assert.rejects(
      withTimeout(Promise.reject(new Error('broken')), 60_000, () => 2),
      /broken/,
    );
  });

  it('returns the outcome of onTimeout after the timeout', async () => {
    assert.equal(await withTimeout(never, 1, () => 2), 2);
    const late = withTimeout(never, 1, () => {
      throw new Error('late');
    });
    await assert.rejects(late, /late/);
  });

  it('ignores a rejection after the timeout', async () => {
    let fail: (reason: Error) => void = () => undefined;
    const slow = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    assert.equal(await withTimeout(slow, 1, () => 2), 2);
    fail(new Error('too late'));
    await nextTurn();
  });

  it('clears the timer when the promise settles in time', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    await withTimeout(Promise.resolve(1), 60_000, () => 2);
    await nextTurn();
    assert.equal(timers(), before);
  });
});
