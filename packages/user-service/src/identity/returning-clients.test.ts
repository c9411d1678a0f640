import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createReturningClients } from './returning-clients.ts';

describe('returning clients', () => {
  it('are those that were refused and have waited, until they are served', async () => {
    const clients = createReturningClients({ waitMs: 30 });
    assert.equal(clients.hasReturned('one'), false);
    clients.refused('one');
    assert.equal(clients.hasReturned('one'), false, 'too soon');
    clients.refused('one');
    // A timer may end a little early.
    await wait(35);
    assert.ok(clients.hasReturned('one'), 'refusals in between do not prolong the wait');
    assert.equal(clients.hasReturned('other'), false);
    clients.forget('one');
    assert.equal(clients.hasReturned('one'), false);
  });

  it('are forgotten after a while, and when too many were refused', async () => {
    const clients = createReturningClients({ waitMs: 0, keptMs: 30 });
    clients.refused('one');
    assert.ok(clients.hasReturned('one'));
    await wait(60);
    assert.equal(clients.hasReturned('one'), false);
    const many = createReturningClients({ waitMs: 0 });
    for (let index = 0; index < 25_000; index += 1) many.refused(`client ${index}`);
    assert.equal(many.hasReturned('client 0'), false);
    assert.ok(many.hasReturned('client 24999'));
  });
});
