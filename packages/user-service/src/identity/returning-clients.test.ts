import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createReturningClients } from './returning-clients.ts';

/** Stops the clocks that the clients are timed by; returns what moves them on. */
function stopClocks({ mock }: TestContext): (ms: number) => void {
  let now = performance.now();
  mock.method(performance, 'now', () => now);
  mock.timers.enable({ apis: ['setTimeout'] });
  return (ms) => {
    now += ms;
    mock.timers.tick(ms);
  };
}

describe('returning clients', () => {
  it('are those that were refused and have waited, until they are served', (context) => {
    const pass = stopClocks(context);
    const clients = createReturningClients({ waitMs: 30 });
    assert.equal(clients.hasReturned('one'), false);
    clients.refused('one');
    assert.equal(clients.hasReturned('one'), false);
    pass(20);
    clients.refused('one');
    assert.equal(clients.hasReturned('one'), false, 'too soon');
    pass(10);
    assert.ok(clients.hasReturned('one'), 'refusals in between do not prolong the wait');
    assert.equal(clients.hasReturned('other'), false);
    clients.forget('one');
    assert.equal(clients.hasReturned('one'), false);
  });

  it('are forgotten after a while', (context) => {
    const pass = stopClocks(context);
    const clients = createReturningClients({ waitMs: 0, keptMs: 30 });
    clients.refused('one');
    pass(30);
    assert.ok(clients.hasReturned('one'));
    pass(2);
    assert.equal(clients.hasReturned('one'), false);
  });

  it('are forgotten, the oldest first, when too many were refused', () => {
    const clients = createReturningClients({ waitMs: 0 });
    for (let index = 0; index < 25_000; index += 1) clients.refused(`client ${index}`);
    assert.equal(clients.hasReturned('client 0'), false);
    assert.ok(clients.hasReturned('client 24999'));
  });
});
