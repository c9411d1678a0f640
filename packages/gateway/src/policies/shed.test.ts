import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createLoadMonitor } from '../load-monitor.ts';
import { ask, sendJson, startGateway, until } from '../testing.ts';

describe('load shedding', () => {
  it('refuses what is above the limit at once, but never health, and takes on again what it may', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 3, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const held: ServerResponse[] = [];
    const gateway = await startGateway(context, {
      door: { load },
      users: (incoming, response) => {
        if (incoming.url === '/api/users/health') sendJson(response, 200, { data: {} });
        else held.push(response);
      },
    });
    const running = Array.from({ length: 3 }, (_, id) => ask(`${gateway.url}/api/users/${id + 1}`));
    await until(() => held.length === 3, 'three calls');
    for (const path of ['/api/users/4', '/api/users/4/profile', '/api/dashboard', '/api/orders']) {
      const { status, headers } = await ask(gateway.url + path);
      assert.deepEqual(
        [status, headers['x-problem'], headers['retry-after']],
        [503, 'overloaded', '1'],
        path,
      );
    }
    assert.equal((await ask(`${gateway.url}/api/health`)).status, 200);
    assert.equal((await ask(`${gateway.url}/api/users/health`)).status, 200);
    for (const response of held) sendJson(response, 200, { data: 1 });
    assert.deepEqual(
      (await Promise.all(running)).map(({ status }) => status),
      [200, 200, 200],
    );
    assert.match((await gateway.metrics.render()).body, /shed_requests_total\{reason="in_flight"\} 4/);
    const last = ask(`${gateway.url}/api/users/5`);
    await until(() => held.length === 4, 'another call');
    sendJson(held[3] as ServerResponse, 200, {});
    assert.equal((await last).status, 200);
  });

  it('counts out whoever goes away', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, { door: { load }, users: () => undefined });
    const gone = new AbortController();
    const request = fetch(`${gateway.url}/api/users/1`, { signal: gone.signal }).catch(() => undefined);
    await until(() => gateway.users.requests.length === 1, 'the call');
    assert.equal(load.reason(), 'in_flight');
    gone.abort();
    await request;
    await until(() => load.reason() === undefined, 'the end of the request');
  });

  it('sees an event loop that is late time after time, and when it is not any more', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1000, maxDelayMs: 50 });
    context.after(() => load.stop());
    // From here on each of them is a turn of the loop, in which timers have their time once.
    await setImmediate();
    block(100);
    assert.equal(load.reason(), undefined, 'once: the process stood still');
    await setImmediate();
    assert.equal(load.reason(), undefined, 'once, seen by the tick');
    block(100);
    assert.equal(load.reason(), 'event_loop', 'at once: requests are read before any timer');
    await setImmediate();
    assert.equal(load.reason(), 'event_loop', 'twice, seen by the ticks');
    await until(() => load.reason() === undefined, 'a loop that is in time');
  });
});

/** Keeps the event loop from everything else. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
