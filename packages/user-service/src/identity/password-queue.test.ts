import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { isFailure } from '@zerda/chassis/testing';
import { createPasswordQueue, type PasswordQueueOptions, type PasswordWorkKind } from './password-queue.ts';

/** A queue whose works end when the test says so. */
function heldQueue(options: Partial<PasswordQueueOptions> = {}) {
  const queue = createPasswordQueue({ concurrency: 1, capacity: 50, ...options });
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const refused: string[] = [];
  function enter(client: string, kind: PasswordWorkKind = 'login', name = client): Promise<void> {
    return queue
      .run({ kind, client }, async () => {
        started.push(name);
        await new Promise<void>((resolve) => ends.push(resolve));
      })
      .catch((error: unknown) => {
        assert.ok(isFailure('login-overloaded')(error), String(error));
        refused.push(name);
      });
  }
  async function endOne(): Promise<void> {
    ends.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  async function drain(): Promise<void> {
    while (queue.load.running > 0) await endOne();
  }
  return { queue, started, refused, enter, endOne, drain };
}

describe('password queue', () => {
  it('runs as many works at a time as it may, and goes on after one that fails', async () => {
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

  it('lets clients take turns, however much one of them sends', async () => {
    const { started, enter, drain } = heldQueue();
    for (let count = 0; count < 10; count += 1) void enter('flood');
    void enter('one');
    void enter('two');
    void enter('two', 'login', 'two again');
    await drain();
    assert.deepEqual(started.slice(0, 6), ['flood', 'flood', 'one', 'two', 'flood', 'two again']);
  });

  it('gives the place of the client with most waiting works to another when it is full', async () => {
    const { started, refused, enter, drain } = heldQueue({ capacity: 20 });
    for (let count = 0; count < 8; count += 1) void enter('flood', 'login', `flood ${count}`);
    assert.equal(refused.length, 0);
    await new Promise((resolve) => setImmediate(resolve));
    for (const client of ['a', 'b', 'c']) void enter(client);
    await drain();
    // Four wait beside the one that runs: a flood that came first keeps one of them.
    assert.deepEqual(refused.slice(0, 3), ['flood 5', 'flood 6', 'flood 7']);
    for (const client of ['a', 'b', 'c']) assert.ok(started.includes(client), client);
  });

  it('keeps turns and places of each kind for it', async () => {
    const { started, refused, enter, drain } = heldQueue({ capacity: 10 });
    for (let count = 0; count < 20; count += 1) {
      void enter(`user ${count}`, 'new-password', 'new');
      void enter(`somewhere ${count}`, 'login', 'login');
    }
    void enter('home', 'known-login', 'known');
    await drain();
    assert.ok(started.indexOf('known') <= 2, started.join());
    assert.equal(started.filter((name) => name === 'new').length, 3, 'the first, and two that waited');
    assert.equal(started.filter((name) => name === 'login').length, 2);
    assert.equal(refused.filter((name) => name === 'known').length, 0);
  });

  it('shares turns by kind while all kinds wait', async () => {
    const { started, enter, endOne, drain } = heldQueue({ capacity: 500 });
    void enter('first', 'login', 'first');
    const kinds = ['known-login', 'returning-login', 'login', 'new-password'] as const;
    for (let count = 0; count < 60; count += 1) for (const kind of kinds) void enter('same', kind, kind);
    for (let turn = 0; turn < 50; turn += 1) await endOne();
    const turns = (kind: string) => started.filter((name) => name === kind).length;
    assert.deepEqual(kinds.map(turns), [20, 10, 10, 10]);
    await drain();
  });

  it('refuses a work that waits too long, and then starts it no more', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const { queue, started, refused, enter, drain } = heldQueue({ maxWaitMs: 1500 });
    void enter('running');
    void enter('late');
    context.mock.timers.tick(1499);
    void enter('later');
    context.mock.timers.tick(1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([refused, queue.load.waiting], [['late'], 1]);
    await drain();
    assert.deepEqual(started, ['running', 'later']);
  });

  it('runs nothing for a request that has no time left, and goes on with the next', async () => {
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

  it('knows before the turn is asked for whether there is a place', async () => {
    const { queue, enter, drain } = heldQueue({ capacity: 10 });
    const hasPlace = (client: string, ...kinds: PasswordWorkKind[]): boolean => {
      try {
        queue.requirePlace(client, ...kinds);
        return true;
      } catch (error) {
        assert.ok(isFailure('login-overloaded')(error));
        return false;
      }
    };
    assert.ok(hasPlace('flood', 'login'));
    for (let count = 0; count < 3; count += 1) void enter('flood');
    assert.equal(hasPlace('flood', 'login'), false);
    assert.ok(hasPlace('flood', 'login', 'known-login'));
    assert.ok(hasPlace('one', 'login'), 'the flood has two waiting');
    void enter('one');
    assert.equal(hasPlace('two', 'login'), false, 'one each is waiting');
    assert.ok(hasPlace('two', 'new-password'));
    await drain();
    assert.ok(hasPlace('flood', 'login'));
  });

  it('refuses at once what it has no place for, without losing a slot', async () => {
    const { queue, refused, enter, drain } = heldQueue({ capacity: 0 });
    for (const client of ['a', 'b', 'c']) void enter(client);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(refused, ['b', 'c']);
    await drain();
    assert.deepEqual(queue.load, { running: 0, waiting: 0 });
  });
});
