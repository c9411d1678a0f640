import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { logFields } from '../../packages/chassis/src/logging/catalog.ts';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { type System, startSystem } from '../kit/system.ts';

type Line = Readonly<Record<string, unknown>>;

describe('log lines of the running system', () => {
  let system: System;
  before(async () => {
    system = await startSystem({ LOG_LEVEL: 'debug' });
  });
  after(() => system.close());

  const linesOf = (...names: ('users' | 'orders' | 'gateway')[]): Line[] =>
    names.flatMap((name) => system[name].output.map((line) => JSON.parse(line) as Line));

  it('of a request have its ids in all services, and route, status and duration', async () => {
    const response = await sendRequest(`${system.gateway.url}/api/users/1`);
    const { 'x-correlation-id': correlation_id, traceresponse } = response.headers;
    const trace_id = traceresponse?.split('-')[1];
    for (const name of ['gateway', 'users'] as const) {
      const line = await eventually(
        () =>
          linesOf(name).find((each) => each.msg === 'request' && each.correlation_id === correlation_id) ??
          false,
      );
      const { trace_id: traceId, level, method, route, status } = line;
      assert.deepEqual(
        { traceId, level, method, route, status },
        { traceId: trace_id, level: 'info', method: 'GET', route: '/api/users/{id}', status: 200 },
      );
      assert.match(String(line.span_id), /^[0-9a-f]{16}$/);
      assert.ok(Number(line.duration_ms) > 0 && Number(line.bytes) > 0);
    }
  });

  it('are JSON with fields of the catalog only, also about malformed requests and failures', async () => {
    const json = { name: 'Grace Hopper', email: 'grace@example.com' };
    assert.equal(
      (await sendRequest(`${system.gateway.url}/api/users`, { method: 'POST', json })).status,
      201,
    );
    const socket = connect(Number(new URL(system.gateway.url).port), '127.0.0.1');
    socket.end('not HTTP\r\n\r\n').resume();
    await once(socket, 'close');
    await system.orders.kill();
    assert.equal((await sendRequest(`${system.gateway.url}/api/orders`)).status, 502);
    await eventually(async () => {
      await sendRequest(`${system.gateway.url}/api/dashboard`);
      assert.ok(linesOf('gateway').some(({ msg }) => msg === 'circuit opened'));
    });
    assert.equal(await system.users.stop(), 0);
    const lines = linesOf('users', 'orders', 'gateway');
    const fields = new Set(
      lines.filter(({ stream }) => stream !== 'audit').flatMap((line) => Object.keys(line)),
    );
    assert.deepEqual(
      [...fields].filter((name) => !(name in logFields)),
      [],
    );
    for (const line of lines)
      for (const name of ['time', 'level', 'service', 'msg']) assert.ok(line[name], JSON.stringify(line));
    assert.ok(lines.some(({ route, reason }) => route === 'malformed' && typeof reason === 'string'));
    assert.ok(lines.some(({ err, problem }) => err !== undefined && problem !== undefined));
  });
});
