import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { isFailure } from '@zerda/chassis/testing/observed';
import { createPasswordQueue, type PasswordQueueOptions, type PasswordWorkKind } from './password-queue.ts';

/** Returns a queue whose work ends when the test calls `endOne`. */
function heldQueue(options: Partial<PasswordQueueOptions> = {}) {
  const queue = createPasswordQueue({ concurrency: 1, capacity: 50, ...options });
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const rejected: string[] = [];
  function enter(client: string, kind: PasswordWorkKind = 'login', name = client): Promise<void> {
    return queue
      .run({ kind, client }, async () => {
        started.push(name);
        await new Promise<void>((resolve) => ends.push(resolve));
      })
      .catch((error: unknown) => {
        assert.ok(isFailure('login-overloaded')(error), String(error));
        rejected.push(name);
      });
  }
  async function endOne(): Promise<void> {
    ends.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  async function drain(): Promise<void> {
    while (queue.load.running > 0) await endOne();
  }
  return { queue, started, rejected, enter, endOne, drain };
}

describe('password queue', () => {
  it('runs up to the concurrency limit and continues after a failure', async () => {
    const { queue, started, enter, endOne, drain } = heldQueue({ concurrency: 2 });
    for (const client of ['a', 'b', 'c', 'd']) void enter(client);
    assert.deepEqual(queue.load, { running: 2, waiting: 2 });
    await endOne();
    assert.deepEqual(started, ['a', 'b', 'c']);
    await drain();
    await assert.rejects(
      queue.run({ kind: 'login', client: 'e' }, () => Promise.reject(new Error('failed'))),
      /failed/,
    );
    assert.deepEqual(queue.load, { running: 0, waiting: 0 });
    assert.equal(await queue.run({ kind: 'login', client: 'f' }, async () => 'more'), 'more');
  });

  it('alternates between clients regardless of their load', async () => {
    const { started, enter, drain } = heldQueue();
    for (let count = 0; count < 10; count += 1) void enter('flood');
    void enter('one');
    void enter('two');
    void enter('two', 'login', 'two again');
    await drain();
    assert.deepEqual(started.slice(0, 6), ['flood', 'flood', 'one', 'two', 'flood', 'two again']);
  });

  it('evicts a request of the client with the most waiting requests when it is full', async () => {
    const { started, rejected, enter, drain } = heldQueue({ capacity: 20 });
    for (let count = 0; count < 8; count += 1) void enter('flood', 'login', `flood ${count}`);
    assert.equal(rejected.length, 0);
    await new Promise((resolve) => setImmediate(resolve));
    for (const client of ['a', 'b', 'c']) void enter(client);
    await drain();
    // One request runs and four wait; the flood that came first keeps one of these places.
    assert.deepEqual(rejected.slice(0, 3), ['flood 5', 'flood 6', 'flood 7']);
    for (const client of ['a', 'b', 'c']) assert.ok(started.includes(client), client);
  });

  it('reserves turns and capacity for each kind', async () => {
    const { started, rejected, enter, drain } = heldQueue({ capacity: 10 });
    for (let count = 0; count < 20; count += 1) {
      void enter(`user ${count}`, 'new-password', 'new');
      void enter(`somewhere ${count}`, 'login', 'login');
    }
    void enter('home', 'known-login', 'known');
    await drain();
    assert.ok(started.indexOf('known') <= 2, started.join());
    assert.equal(started.filter((name) => name === 'new').length, 3, 'the first and two that waited');
    assert.equal(started.filter((name) => name === 'login').length, 2);
    assert.equal(rejected.filter((name) => name === 'known').length, 0);
  });

  it('divides turns by the shares of the kinds', async () => {
    const { started, enter, endOne, drain } = heldQueue({ capacity: 500 });
    void enter('first', 'login', 'first');
    const kinds = ['known-login', 'returning-login', 'login', 'new-password'] as const;
    for (let count = 0; count < 60; count += 1) for (const kind of kinds) void enter('same', kind, kind);
    for (let turn = 0; turn < 50; turn += 1) await endOne();
    const turns = (kind: string) => started.filter((name) => name === kind).length;
    assert.deepEqual(kinds.map(turns), [20, 10, 10, 10]);
    await drain();
  });

  it('rejects a request that waits too long and does not run it', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const { queue, started, rejected, enter, drain } = heldQueue({ maxWaitMs: 1500 });
    void enter('running');
    void enter('late');
    context.mock.timers.tick(1499);
    void enter('later');
    context.mock.timers.tick(1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([rejected, queue.load.waiting], [['late'], 1]);
    await drain();
    assert.deepEqual(started, ['running', 'later']);
  });

  it('skips a request whose deadline has passed and runs the next', async () => {
    const queue = createPasswordQueue({ concurrency: 1, capacity: 10 });
    const done: string[] = [];
    const job = (name: string, deadline: Deadline) =>
      runInContext({ correlationId: name, deadline }, () =>
        queue.run({ kind: 'login', client: name }, async () => void done.push(name)),
      );
    const results = await Promise.allSettled([
      job('first', Deadline.after(1000)),
      job('late', Deadline.after(0)),
      job('last', Deadline.after(1000)),
    ]);
    assert.deepEqual(done, ['first', 'last']);
    assert.ok(results[1]?.status === 'rejected' && isFailure('deadline-exceeded')(results[1].reason));
  });

  it('reports in advance whether it has capacity', async () => {
    const { queue, enter, drain } = heldQueue({ capacity: 10 });
    const hasCapacity = (client: string, ...kinds: PasswordWorkKind[]): boolean => {
      try {
        queue.requireCapacity(client, ...kinds);
        return true;
      } catch (error) {
        assert.ok(isFailure('login-overloaded')(error));
        return false;
      }
    };
    assert.ok(hasCapacity('flood', 'login'));
    for (let count = 0; count < 3; count += 1) void enter('flood');
    assert.equal(hasCapacity('flood', 'login'), false);
    assert.ok(hasCapacity('flood', 'login', 'known-login'));
    assert.ok(hasCapacity('one', 'login'), 'two requests of the flood wait');
    void enter('one');
    assert.equal(hasCapacity('two', 'login'), false, 'one request of each client waits');
    assert.ok(hasCapacity('two', 'new-password'));
    await drain();
    assert.ok(hasCapacity('flood', 'login'));
  });

  it('rejects immediately without capacity and keeps its slots', async () => {
    const { queue, rejected, enter, drain } = heldQueue({ capacity: 0 });
    for (const client of ['a', 'b', 'c']) void enter(client);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(rejected, ['b', 'c']);
    await drain();
    assert.deepEqual(queue.load, { running: 0, waiting: 0 });
  });
});
