import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createReturningClients } from './returning-clients.ts';

/** Mocks the clocks and returns the function that advances them. */
function stopClocks({ mock }: TestContext): (ms: number) => void {
  // Whole milliseconds, so that sums are exact.
  let now = Math.ceil(performance.now());
  mock.method(performance, 'now', () => now);
  mock.timers.enable({ apis: ['setTimeout'] });
  return (ms) => {
    now += ms;
    mock.timers.tick(ms);
  };
}

describe('returning clients', () => {
  it('are recognized after a rejection and the wait, until they are served', (context) => {
    const pass = stopClocks(context);
    const clients = createReturningClients({ waitMs: 30 });
    assert.equal(clients.hasReturned('one'), false);
    clients.recordRejection('one');
    assert.equal(clients.hasReturned('one'), false);
    pass(20);
    clients.recordRejection('one');
    assert.equal(clients.hasReturned('one'), false, 'too soon');
    pass(10);
    assert.ok(clients.hasReturned('one'), 'further rejections do not prolong the wait');
    assert.equal(clients.hasReturned('other'), false);
    clients.forget('one');
    assert.equal(clients.hasReturned('one'), false);
  });

  it('keep the last turn of a known login that was rejected', () => {
    const clients = createReturningClients();
    const turn = { kind: 'known-login', client: 'user 1' } as const;
    clients.recordRejection('one');
    assert.equal(clients.rejectedTurn('one'), undefined);
    clients.recordRejection('one', turn);
    clients.recordRejection('one');
    assert.deepEqual(clients.rejectedTurn('one'), turn);
    clients.forget('one');
    assert.equal(clients.rejectedTurn('one'), undefined);
  });

  it('expire after the retention time', (context) => {
    const pass = stopClocks(context);
    const clients = createReturningClients({ waitMs: 0, retentionMs: 30 });
    clients.recordRejection('one');
    pass(30);
    assert.ok(clients.hasReturned('one'));
    pass(2);
    assert.equal(clients.hasReturned('one'), false);
  });

  it('are evicted, oldest first, beyond the maximum number', () => {
    const clients = createReturningClients({ waitMs: 0 });
    for (let index = 0; index < 25_000; index += 1) clients.recordRejection(`client ${index}`);
    assert.equal(clients.hasReturned('client 0'), false);
    assert.ok(clients.hasReturned('client 24999'));
  });
});
