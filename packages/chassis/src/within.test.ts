import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { within } from './within.ts';

const never = new Promise<never>(() => undefined);

describe('within', () => {
  it('settles as the promise does when that is in time', async () => {
    assert.equal(await within(Promise.resolve(1), 60_000, () => 2), 1);
    await assert.rejects(
      within(Promise.reject(new Error('broken')), 60_000, () => 2),
      /broken/,
    );
  });

  it('settles as onLate does after the time', async () => {
    assert.equal(await within(never, 1, () => 2), 2);
    const late = within(never, 1, () => {
      throw new Error('late');
    });
    await assert.rejects(late, /late/);
  });

  it('ignores a rejection that comes after the time', async () => {
    let fail: (reason: Error) => void = () => undefined;
    const slow = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    assert.equal(await within(slow, 1, () => 2), 2);
    fail(new Error('too late'));
    await turn();
  });

  it('leaves no timer behind when the promise settles in time', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    await within(Promise.resolve(1), 60_000, () => 2);
    await turn();
    assert.equal(timers(), before);
  });
});
