import assert from 'node:assert/strict';
import { request } from 'node:http';
import { describe, it } from 'node:test';
import { recordingLogger } from '@zerda/chassis/testing';
import { problemDetails } from '@zerda/contracts/problems';
import { parseTable } from './routes/read-table.ts';
import { ask, askRaw, sendJson, startGateway, type TestAnswer, tableWith, until } from './testing.ts';

function assertProblem(answer: TestAnswer, code: string, status: number): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8');
  const problem = problemDetails.parse(JSON.parse(answer.text));
  assert.equal(problem.type, `/problems/${code}`);
  assert.equal(problem.status, status);
  assert.equal(problem.correlation_id, answer.headers['x-correlation-id']);
  assert.equal(answer.headers['x-frame-options'], 'SAMEORIGIN');
}

describe('front door', () => {
  it('answers a method that the path does not have with those it has', async (context) => {
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
      const answer = await ask(gateway.url + path, { method, headers: { 'x-correlation-id': 'abc' } });
      assertProblem(answer, 'method-not-allowed', 405);
      assert.equal(answer.headers.allow, allow, path);
      assert.equal(answer.headers['x-correlation-id'], 'abc');
    }
    assert.equal(gateway.users.requests.length + gateway.orders.requests.length, 0, 'no service was asked');
  });

  it('answers a refused request whole although its body is still coming', async (context) => {
    const gateway = await startGateway(context);
    const body = Buffer.alloc(4 * 1024 * 1024);
    for (let round = 0; round < 5; round += 1) {
      assertProblem(
        await ask(`${gateway.url}/api/users/1`, { method: 'POST', body }),
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
      assertProblem(await askRaw(gateway.port, path), 'invalid-request', 400);
    assert.equal(gateway.users.requests.length + gateway.orders.requests.length, 0, 'no service was asked');
  });

  it('forwards encoded slashes as they were sent on a route that allows them', async (context) => {
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
      assert.equal((await askRaw(gateway.port, path)).status, 200, path);
    assert.equal((await askRaw(gateway.port, '/files/a%2F..%2Fb')).status, 400);
    assert.deepEqual(
      gateway.users.requests.map(({ url }) => url),
      ['/files/a%2Fb', '/files/a%5cb?c=%2F', '/files/https:%2F%2Fa.test%2F', '/files/a%252fb'],
    );
  });

  it('forwards characters that browsers send in paths without encoding them', async (context) => {
    const gateway = await startGateway(context);
    const paths = ['/api/users/report[1].pdf', '/api/users/a|b', '/api/users/a^b'];
    for (const path of paths) assert.equal((await askRaw(gateway.port, path)).status, 200, path);
    assert.deepEqual(
      gateway.users.requests.map(({ url }) => url),
      paths,
    );
  });

  it('does not know any other path', async (context) => {
    const gateway = await startGateway(context);
    for (const path of [
      '/',
      '/api',
      '/api/users/1/orders',
      '/api/users/',
      '/problems/unheard-of',
      '/metrics',
    ]) {
      assertProblem(await ask(gateway.url + path), 'not-found', 404);
    }
  });

  it('says that a service cannot be reached', async (context) => {
    const gateway = await startGateway(context);
    await gateway.users.stop();
    assertProblem(await ask(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
    assertProblem(
      await ask(`${gateway.url}/api/users`, { method: 'POST', body: '{}' }),
      'upstream-failed',
      502,
    );
  });

  it('says that a service has no address, and when to come back', async (context) => {
    const gateway = await startGateway(context, { others: { 'user-service': 'http://users.invalid:8001' } });
    for (const request of [{}, { method: 'DELETE' }]) {
      const answer = await ask(`${gateway.url}/api/users/1`, request);
      assertProblem(answer, 'upstream-unavailable', 503);
      assert.equal(answer.headers['retry-after'], '1');
    }
  });

  it('says that a service broke the connection, or answered something that is not HTTP', async (context) => {
    const gateway = await startGateway(context, { users: (incoming) => void incoming.socket.destroy() });
    assertProblem(await ask(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
    gateway.users.behaviour = (incoming) => void incoming.socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    assertProblem(await ask(`${gateway.url}/api/users/1`), 'upstream-failed', 502);
  });

  it('says that a service did not answer in time, its own or that of the client', async (context) => {
    const gateway = await startGateway(context, { users: () => undefined, upstreamTimeoutMs: 100 });
    assertProblem(await ask(`${gateway.url}/api/users/1`), 'upstream-timeout', 504);
    const headers = { 'x-request-timeout-ms': '20' };
    assertProblem(await ask(`${gateway.url}/api/users/1`, { headers }), 'upstream-timeout', 504);
    const none = { 'x-request-timeout-ms': '0' };
    assertProblem(await ask(`${gateway.url}/api/users/1`, { headers: none }), 'deadline-exceeded', 504);
  });

  it('opens the circuit of a service that fails, tries it again, and closes', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { circuit: { resetMs: 200 }, logger });
    gateway.users.behaviour = (_incoming, response) => sendJson(response, 500, { mine: true });
    for (let call = 0; call < 3; call += 1) {
      const answer = await ask(`${gateway.url}/api/users/1`);
      assert.deepEqual([answer.status, answer.text], [500, '{"mine":true}'], 'its own answer is passed on');
    }
    const rejected = await ask(`${gateway.url}/api/users/1`);
    assertProblem(rejected, 'upstream-unavailable', 503);
    assert.equal(rejected.headers['retry-after'], '1');
    assert.equal(gateway.users.requests.length, 3, 'the service is left alone');
    assert.equal(
      (await ask(`${gateway.url}/api/orders/1`)).status,
      200,
      'the other service is not concerned',
    );

    gateway.users.behaviour = (_incoming, response) => sendJson(response, 200, {});
    await until(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    await until(() => gateway.upstreams.users.breaker.state === 'closed', 'closed');
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    assert.deepEqual(
      lines.map(({ msg }) => msg).filter((message) => String(message).startsWith('circuit')),
      ['circuit opened', 'circuit half-open', 'circuit closed'],
    );
  });

  it('opens the circuit of a service that cannot be reached, or does not answer', async (context) => {
    const gateway = await startGateway(context, { orders: () => undefined, upstreamTimeoutMs: 30 });
    await gateway.users.stop();
    for (let call = 0; call < 3; call += 1) {
      await ask(`${gateway.url}/api/users/1`);
      await ask(`${gateway.url}/api/orders/1`);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'open');
    assert.equal(gateway.upstreams.orders.breaker.state, 'open');
  });

  it('does not hold it against a service that it refuses, or that what it depends on is away', async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) => sendJson(response, 404, {}, { 'x-problem': 'user-not-found' }),
      orders: (_incoming, response) =>
        sendJson(response, 503, {}, { 'x-problem': 'dependency-unavailable', 'retry-after': '3' }),
    });
    for (let call = 0; call < 10; call += 1) {
      assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 404);
      const answer = await ask(`${gateway.url}/api/orders`, { method: 'POST', body: '{}' });
      assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '3']);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.orders.breaker.state, 'closed');
  });

  it("does not open a circuit for everybody by one client's haste", async (context) => {
    const gateway = await startGateway(context, { users: () => undefined });
    const headers = { 'x-request-timeout-ms': '10' };
    for (let call = 0; call < 10; call += 1) {
      assertProblem(await ask(`${gateway.url}/api/users/1`, { headers }), 'upstream-timeout', 504);
    }
    gateway.users.behaviour = (_incoming, response) =>
      sendJson(response, 504, {}, { 'x-problem': 'deadline-exceeded' });
    for (let call = 0; call < 10; call += 1) {
      assert.equal(
        (await ask(`${gateway.url}/api/users/1`, { headers: { 'x-request-timeout-ms': '900' } })).status,
        504,
      );
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('does not open a circuit for everybody by clients that never finish their request', async (context) => {
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

  it('does not open a circuit by clients that go away while they send, however long they took', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming) => void incoming.resume(),
      table: tableWith({ slow_ms: 20 }),
    });
    for (let call = 1; call <= 5; call += 1) {
      const outgoing = request(`${gateway.url}/api/users`, { method: 'POST', agent: false });
      outgoing.on('error', () => undefined).write('{'.padEnd(80_000));
      await until(() => gateway.users.requests.length === call, 'the call');
      await new Promise((resolve) => setTimeout(resolve, 40));
      outgoing.destroy();
      await until(() => gateway.upstreams.users.inFlight === 0, 'its end');
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('does not open a circuit by clients that go away', async (context) => {
    const gateway = await startGateway(context, { users: () => undefined });
    for (let call = 1; call <= 10; call += 1) {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false });
      outgoing.on('error', () => undefined).end();
      await until(() => gateway.users.requests.length === call, 'the call');
      outgoing.destroy();
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });
});
