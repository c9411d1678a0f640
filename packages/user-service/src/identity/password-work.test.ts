import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import { createPasswordWork } from './password-work.ts';

const overloaded = (error: unknown) =>
  error instanceof Failure && error.code === 'login-overloaded' && error.headers['Retry-After'] === '1';

it('work on passwords: so much at a time, so much that waits, and the rest is refused at once', async () => {
  const work = createPasswordWork({ concurrency: 2, queue: 3 });
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const all = Array.from({ length: 9 }, (_, index) =>
    work.run(async () => {
      begun.push(index);
      await new Promise<void>((resolve) => ends.push(resolve));
      if (index === 1) throw new Error('failed');
      return index;
    }),
  );
  const settled = Promise.allSettled(all);
  assert.deepEqual(work.load, { running: 2, waiting: 3 });
  while (begun.length < 5) {
    ends.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(work.load.running <= 2);
  }
  for (const end of ends) end();
  const results = await settled;
  assert.deepEqual(begun, [0, 1, 2, 3, 4], 'in the order in which it came');
  assert.deepEqual(
    results.map((result) => (result.status === 'fulfilled' ? result.value : overloaded(result.reason))),
    [0, false, 2, 3, 4, true, true, true, true],
  );
  assert.deepEqual(work.load, { running: 0, waiting: 0 });
  assert.equal(await work.run(async () => 'more'), 'more');
});
