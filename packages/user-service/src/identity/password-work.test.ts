import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { runInContext } from '@zerda/chassis/request-context';
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

it('work on passwords that nobody waits for any more is not done, and what comes after it is', async () => {
  const work = createPasswordWork({ concurrency: 1, queue: 10 });
  const done: string[] = [];
  const job = (name: string, deadline: Deadline) =>
    runInContext({ correlationId: name, deadline }, () => work.run(async () => void done.push(name)));
  const results = await Promise.allSettled([
    job('first', Deadline.after(1000)),
    job('late', Deadline.after(0)),
    job('last', Deadline.after(1000)),
  ]);
  assert.deepEqual(done, ['first', 'last']);
  assert.equal(results[1]?.status === 'rejected' && results[1].reason.code, 'deadline-exceeded');
});
