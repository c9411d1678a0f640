import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { createLoadMonitor } from '../overload/load-monitor.ts';

describe('load shedding', () => {
  it('rejects requests above the limit immediately, except health checks, and recovers', async (context) => {
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
    const running = Array.from({ length: 3 }, (_, id) => sendRequest(`${gateway.url}/api/users/${id + 1}`));
    await eventually(() => held.length === 3, 'three calls');
    for (const path of ['/api/users/4', '/api/users/4/profile', '/api/dashboard', '/api/orders']) {
      const { status, headers } = await sendRequest(gateway.url + path);
      assert.deepEqual(
        [status, headers['x-problem'], headers['retry-after']],
        [503, 'overloaded', '1'],
        path,
      );
    }
    assert.equal((await sendRequest(`${gateway.url}/api/health`)).status, 200);
    assert.equal((await sendRequest(`${gateway.url}/api/users/health`)).status, 200);
    for (const response of held) sendJson(response, 200, { data: 1 });
    assert.deepEqual(
      (await Promise.all(running)).map(({ status }) => status),
      [200, 200, 200],
    );
    assert.match((await gateway.metrics.render()).body, /shed_requests_total\{reason="in_flight"\} 4/);
    const last = sendRequest(`${gateway.url}/api/users/5`);
    await eventually(() => held.length === 4, 'another call');
    sendJson(held[3] as ServerResponse, 200, {});
    assert.equal((await last).status, 200);
  });

  it('stops counting a request when its client disconnects', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, { door: { load }, users: () => undefined });
    const client = new AbortController();
    const request = fetch(`${gateway.url}/api/users/1`, { signal: client.signal }).catch(() => undefined);
    await eventually(() => gateway.users.requests.length === 1, 'the call');
    assert.equal(load.reason(), 'in_flight');
    client.abort();
    await request;
    await eventually(() => load.reason() === undefined, 'the end of the request');
  });

  it('detects an event loop that is repeatedly late, and its recovery', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1000, maxDelayMs: 50 });
    context.after(() => load.stop());
    // From here on, each setImmediate is one turn of the loop, and timers run once per turn.
    await setImmediate();
    block(100);
    assert.equal(load.reason(), undefined, 'late once: the process was paused');
    await setImmediate();
    assert.equal(load.reason(), undefined, 'late once, seen by the tick');
    block(100);
    assert.equal(load.reason(), 'event_loop', 'immediately: requests are read before timers run');
    await setImmediate();
    assert.equal(load.reason(), 'event_loop', 'late twice, seen by the ticks');
    await eventually(() => load.reason() === undefined, 'the recovery of the loop');
  });
});

/** Blocks the event loop. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
