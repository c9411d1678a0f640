import assert from 'node:assert/strict';
import { request } from 'node:http';
import { describe, it } from 'node:test';
import { type HttpResponse, sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { problemDetails } from '@zerda/contracts/problems';
import { startGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { parseTable } from '../routes/read-table.ts';

function assertProblem(received: HttpResponse, code: string, status: number): void {
  assert.equal(received.status, status, received.text);
  assert.equal(received.headers['content-type'], 'application/problem+json; charset=utf-8');
  const problem = problemDetails.parse(JSON.parse(received.text));
  assert.equal(problem.type, `/problems/${code}`);
  assert.equal(problem.status, status);
  assert.equal(problem.correlation_id, received.headers['x-correlation-id']);
  assert.equal(received.headers['x-frame-options'], 'SAMEORIGIN');
}

describe('forwarding handler', () => {
  it('returns 405 and the allowed methods for a method that the path does not support', async (context) => {
    const gateway = await startGateway(context);
    for (const [method, path, allow] of [
      ['PATCH', '/api/users/1', 'GET, HEAD, PUT, DELETE'],
      ['DELETE', '/api/users/health', 'GET, HEAD'],
      ['OPTIONS', '/api/orders', 'GET, HEAD, POST'],
      ['GET', '/api/orders/1/status', 'PUT'],
      ['POST', '/api/users/1/profile', 'GET, HEAD'],
      ['POST', '/docs', 'GET, HEAD'],
      ['DELETE', '/openapi.json', 'GET, HEAD'],
      ['PUT', '/problems/not-found', 'GET, HEAD'],
    ] as const) {
      const received = await sendRequest(gateway.url + path, {
        method,
        headers: { 'x-correlation-id': 'abc' },
      });
      assertProblem(received, 'method-not-allowed', 405);
      assert.equal(received.headers.allow, allow, path);
      assert.equal(received.headers['x-correlation-id'], 'abc');
    }
    assert.equal(gateway.users.requests.length + gateway.orders.requests.length, 0, 'no service was called');
  });

  it('sends the complete response to a rejected request whose body is still being sent', async (context) => {
    const gateway = await startGateway(context);
    const body = Buffer.alloc(4 * 1024 * 1024);
    for (let round = 0; round < 5; round += 1) {
      assertProblem(
        await sendRequest(`${gateway.url}/api/users/1`, { method: 'POST', body }),
        'method-not-allowed',
        405,
      );
    }
  });

  it('rejects a path that a service could resolve to another one (RFC 9112, section 3.2; RFC 3986, section 6.2.2.3)', async (context) => {
    const gateway = await startGateway(context);
    for (const path of [
      ...['/api/users/..%2f..%2fmetrics', '/api/users/1%2fprofile%2f..', '/api/users/%252e%252e%252fmetrics'],
      ...['/api/users/1%2f/profile', '/api/users/a%2Fb', '/api//users', '/api/users/a%5cb'],
      ...['/api/dashboard%2f', '/docs/%2e%2e', '/problems/..%2fx', '/api/users/a"b', '/api/users/<b>'],
    ])
      assertProblem(await sendRequest(gateway.url, { path: path }), 'invalid-request', 400);
    assert.equal(gateway.users.requests.length + gateway.orders.requests.length, 0, 'no service was called');
  });

  it('forwards encoded slashes unchanged on a route that allows them', async (context) => {
    const table = parseTable(
      `
upstreams: { user-service: {}, order-service: {} }
routes:
  - { path: '/files/{name}', methods: [GET], upstream: user-service, encoded_slashes: allow }
`,
      'table',
    );
    const gateway = await startGateway(context, { table });
    for (const path of [
      '/files/a%2Fb',
      '/files/a%5cb?c=%2F',
      '/files/https:%2F%2Fa.test%2F',
      '/files/a%252fb',
    ])
      assert.equal((await sendRequest(gateway.url, { path: path })).status, 200, path);
    assert.equal((await sendRequest(gateway.url, { path: '/files/a%2F..%2Fb' })).status, 400);
    assert.deepEqual(
      gateway.users.requests.map(({ url }) => url),
      ['/files/a%2Fb', '/files/a%5cb?c=%2F', '/files/https:%2F%2Fa.test%2F', '/files/a%252fb'],
    );
  });

  it('forwards characters that browsers send in paths without encoding them', async (context) => {
    const gateway = await startGateway(context);
    const paths = ['/api/users/report[1].pdf', '/api/users/a|b', '/api/users/a^b'];
    for (const path of paths)
      assert.equal((await sendRequest(gateway.url, { path: path })).status, 200, path);
    assert.deepEqual(
      gateway.users.requests.map(({ url }) => url),
      paths,
    );
  });

  it('returns 404 for other paths', async (context) => {
    const gateway = await startGateway(context);
    for (const path of [
      '/',
      '/api',
      '/api/users/1/orders',
      '/api/users/',
      '/problems/unheard-of',
      '/metrics',
    ]) {
      assertProblem(await sendRequest(gateway.url + path), 'not-found', 404);
    }
  });

  it('returns 502 when a service is unreachable', async (context) => {
    const gateway = await startGateway(context);
    await gateway.users.stop();
    assertProblem(await sendRequest(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
    assertProblem(
      await sendRequest(`${gateway.url}/api/users`, { method: 'POST', body: '{}' }),
      'upstream-failed',
      502,
    );
  });

  it('returns 503 with Retry-After when the host name of a service does not resolve', async (context) => {
    const gateway = await startGateway(context, { others: { 'user-service': 'http://users.invalid:8001' } });
    for (const request of [{}, { method: 'DELETE' }]) {
      const received = await sendRequest(`${gateway.url}/api/users/1`, request);
      assertProblem(received, 'upstream-unavailable', 503);
      assert.equal(received.headers['retry-after'], '1');
    }
  });

  it('returns 502 when a service closes the connection or does not respond with HTTP', async (context) => {
    const gateway = await startGateway(context, { users: (incoming) => void incoming.socket.destroy() });
    assertProblem(await sendRequest(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
    gateway.users.listener = (incoming) => void incoming.socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    assertProblem(await sendRequest(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
  });

  it('returns 504 when a service exceeds its timeout or the deadline of the client', async (context) => {
    const gateway = await startGateway(context, { users: () => undefined, upstreamTimeoutMs: 100 });
    assertProblem(await sendRequest(`${gateway.url}/api/users/1`), 'upstream-timeout', 504);
    const headers = { 'x-request-timeout-ms': '20' };
    assertProblem(await sendRequest(`${gateway.url}/api/users/1`, { headers }), 'upstream-timeout', 504);
    const none = { 'x-request-timeout-ms': '0' };
    assertProblem(
      await sendRequest(`${gateway.url}/api/users/1`, { headers: none }),
      'deadline-exceeded',
      504,
    );
  });

  it('opens the circuit of a failing service, probes it and closes the circuit', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { circuit: { resetMs: 200 }, logger });
    gateway.users.listener = (_incoming, response) => sendJson(response, 500, { mine: true });
    for (let call = 0; call < 3; call += 1) {
      const received = await sendRequest(`${gateway.url}/api/users/1`);
      assert.deepEqual(
        [received.status, received.text],
        [500, '{"mine":true}'],
        'the response of the service is forwarded',
      );
    }
    const rejected = await sendRequest(`${gateway.url}/api/users/1`);
    assertProblem(rejected, 'upstream-unavailable', 503);
    assert.equal(rejected.headers['retry-after'], '1');
    assert.equal(gateway.users.requests.length, 3, 'the service gets no more calls');
    assert.equal(
      (await sendRequest(`${gateway.url}/api/orders/1`)).status,
      200,
      'the other service is not affected',
    );

    gateway.users.listener = (_incoming, response) => sendJson(response, 200, {});
    await eventually(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    await eventually(() => gateway.upstreams.users.breaker.state === 'closed', 'closed');
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    assert.deepEqual(
      lines.map(({ msg }) => msg).filter((message) => String(message).startsWith('circuit')),
      ['circuit opened', 'circuit half-open', 'circuit closed'],
    );
  });

  it('opens the circuit of a service that is unreachable or does not respond', async (context) => {
    const gateway = await startGateway(context, { orders: () => undefined, upstreamTimeoutMs: 30 });
    await gateway.users.stop();
    for (let call = 0; call < 3; call += 1) {
      await sendRequest(`${gateway.url}/api/users/1`);
      await sendRequest(`${gateway.url}/api/orders/1`);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'open');
    assert.equal(gateway.upstreams.orders.breaker.state, 'open');
  });

  it('does not count rejections or unavailable dependencies as failures of a service', async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) => sendJson(response, 404, {}, { 'x-problem': 'user-not-found' }),
      orders: (_incoming, response) =>
        sendJson(response, 503, {}, { 'x-problem': 'dependency-unavailable', 'retry-after': '3' }),
    });
    for (let call = 0; call < 10; call += 1) {
      assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 404);
      const received = await sendRequest(`${gateway.url}/api/orders`, { method: 'POST', body: '{}' });
      assert.deepEqual([received.status, received.headers['retry-after']], [503, '3']);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.orders.breaker.state, 'closed');
  });

  it('does not open a circuit because of short client deadlines', async (context) => {
    const gateway = await startGateway(context, { users: () => undefined });
    const headers = { 'x-request-timeout-ms': '50' };
    for (let call = 0; call < 10; call += 1) {
      assertProblem(await sendRequest(`${gateway.url}/api/users/1`, { headers }), 'upstream-timeout', 504);
    }
    gateway.users.listener = (_incoming, response) =>
      sendJson(response, 504, {}, { 'x-problem': 'deadline-exceeded' });
    for (let call = 0; call < 10; call += 1) {
      assert.equal(
        (await sendRequest(`${gateway.url}/api/users/1`, { headers: { 'x-request-timeout-ms': '900' } }))
          .status,
        504,
      );
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('does not open a circuit because of clients that never finish their requests', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) => {
        incoming.resume().on('end', () => sendJson(response, 200, {}));
      },
      upstreamTimeoutMs: 50,
      table: tableWith({ idle_timeout_ms: 50 }),
    });
    for (let call = 0; call < 5; call += 1) {
      const status = await new Promise((resolve, reject) => {
        const outgoing = request(`${gateway.url}/api/users`, {
          method: 'POST',
          agent: false,
          headers: { 'content-length': '100' },
        });
        outgoing.on('error', reject);
        outgoing.on('response', (incoming) => {
          incoming.resume();
          incoming.on('end', () => {
            outgoing.off('error', reject).on('error', () => undefined);
            outgoing.destroy();
            resolve(incoming.statusCode);
          });
        });
        outgoing.write('{');
      });
      assert.equal(status, 408);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('does not open a circuit because of clients that disconnect while sending, however long they took', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming) => void incoming.resume(),
      table: tableWith({ slow_ms: 20 }),
    });
    for (let call = 1; call <= 5; call += 1) {
      const outgoing = request(`${gateway.url}/api/users`, { method: 'POST', agent: false });
      outgoing.on('error', () => undefined).write('{'.padEnd(80_000));
      await eventually(() => gateway.users.requests.length === call, 'the call');
      await new Promise((resolve) => setTimeout(resolve, 40));
      outgoing.destroy();
      await eventually(() => gateway.upstreams.users.inFlight === 0, 'its end');
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('does not open a circuit because of clients that disconnect', async (context) => {
    const gateway = await startGateway(context, { users: () => undefined });
    for (let call = 1; call <= 10; call += 1) {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false });
      outgoing.on('error', () => undefined).end();
      await eventually(() => gateway.users.requests.length === call, 'the call');
      outgoing.destroy();
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });
});
