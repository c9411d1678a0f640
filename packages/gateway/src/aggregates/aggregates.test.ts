import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { sendRequest } from '@zerda/chassis/testing/http';
import { eventually } from '@zerda/chassis/testing/wait';
import { gatewayOperations } from '@zerda/contracts/gateway/operations';
import type { Upstream } from '@zerda/upstream/upstream';
import { startGateway, type TestGateway } from '../../testing/gateway.ts';
import { jsonByPath, sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

const at = '2026-01-31T12:00:00.000Z';
const user = {
  id: 1,
  name: 'Alice Johnson',
  email: 'alice@example.com',
  role: 'admin',
  created_at: at,
  updated_at: at,
};
const order = {
  id: 1,
  user_id: 1,
  product: 'Laptop',
  quantity: 1,
  total: 999.99,
  status: 'completed',
  created_at: at,
  updated_at: at,
};
const none = { count: 0, total: 0 };

const userBodies = {
  '/api/users/1': { status: 'success', data: user },
  '/api/users/stats': { status: 'success', data: { users: 3 } },
  '/api/users/health': {
    status: 'success',
    data: { service: 'user-service', status: 'healthy', users_count: 3 },
  },
};
const orderBodies = {
  '/api/orders/user/1': { status: 'success', data: [order], page: { next: null, total: 7 } },
  '/api/orders/stats': {
    status: 'success',
    data: {
      orders: 5,
      by_status: {
        pending: { count: 2, total: 79.5 },
        processing: none,
        shipped: { count: 1, total: 20 },
        completed: { count: 2, total: 1549.97 },
        cancelled: none,
      },
    },
  },
  '/api/orders/health': {
    status: 'success',
    data: { service: 'order-service', status: 'healthy', orders_count: 5 },
  },
};

/** Requests a path without URL normalization. */
async function statusOf(port: number, path: string): Promise<number | undefined> {
  const [incoming] = (await once(get({ host: '127.0.0.1', port, path, agent: false }), 'response')) as [
    IncomingMessage,
  ];
  return incoming.resume().statusCode;
}

/** Keeps a call in flight until the returned function is called. */
async function holdCall(upstream: Upstream): Promise<() => void> {
  let end = (): void => undefined;
  await upstream.call(async (attempt) => {
    end = attempt.hold();
    return { status: 200, problem: undefined };
  });
  return end;
}

const healthyServices = { users: jsonByPath(userBodies), orders: jsonByPath(orderBodies) };

describe('GET /api/users/{id}/profile', () => {
  const { schema } = gatewayOperations.getProfile.response;

  it('returns the user and their orders', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    const result = await sendRequest(`${gateway.url}/api/users/1/profile`, {
      headers: { 'x-correlation-id': 'abc' },
    });
    assert.equal(result.status, 200);
    assert.deepEqual(schema.parse(JSON.parse(result.text)), {
      status: 'success',
      data: { user, orders: [order], total_orders: 7 },
    });
    for (const { requests } of [gateway.users, gateway.orders]) {
      assert.equal(requests[0]?.headers['x-correlation-id'], 'abc');
      const ms = Number(requests[0]?.headers['x-request-timeout-ms']);
      assert.ok(ms > 0 && ms <= 5000, String(ms));
    }
  });

  it('calls both services in parallel', async (context) => {
    const gateway: TestGateway = await startGateway(context, {
      // Each service responds only after the other one gets its request.
      users: async (incoming, response) => {
        await eventually(() => gateway.orders.requests.length > 0, 'the orders');
        jsonByPath(userBodies)(incoming, response);
      },
      orders: async (incoming, response) => {
        await eventually(() => gateway.users.requests.length > 0, 'the user');
        jsonByPath(orderBodies)(incoming, response);
      },
    });
    assert.equal((await sendRequest(`${gateway.url}/api/users/1/profile`)).status, 200);
  });

  it('returns the reason for missing orders: unreachable, error, timeout, circuit_open', async (context) => {
    const gateway = await startGateway(context, {
      ...healthyServices,
      upstreamTimeoutMs: 1000,
      circuit: { volume: 4 },
    });
    async function assertMissing(reason: string, status?: number): Promise<void> {
      const result = await sendRequest(`${gateway.url}/api/users/1/profile`);
      assert.equal(result.status, 200, result.text);
      assert.deepEqual(schema.parse(JSON.parse(result.text)).data, {
        user,
        orders: null,
        total_orders: null,
        degraded: [{ part: 'orders', reason, ...(status !== undefined && { status }) }],
      });
    }
    gateway.orders.listener = (_incoming, response) => sendJson(response, 200, 'no envelope');
    await assertMissing('error');
    gateway.orders.listener = (_incoming, response) => sendJson(response, 500, {});
    await assertMissing('error', 500);
    gateway.orders.listener = () => undefined;
    await assertMissing('timeout');
    await gateway.orders.stop();
    await assertMissing('unreachable');
    await assertMissing('circuit_open');
  });

  it('omits a slow part before the deadline of the client', async (context) => {
    const gateway = await startGateway(context, { ...healthyServices, orders: () => undefined });
    const result = await sendRequest(`${gateway.url}/api/users/1/profile`, {
      headers: { 'x-request-timeout-ms': '400' },
    });
    assert.deepEqual(JSON.parse(result.text).data.degraded, [{ part: 'orders', reason: 'timeout' }]);
    const ms = Number(gateway.orders.requests[0]?.headers['x-request-timeout-ms']);
    assert.ok(ms > 0 && ms <= 380, `${ms} ms leave no time to respond without the part`);
  });

  it('returns 404 when the user does not exist', async (context) => {
    const gateway = await startGateway(context, {
      ...healthyServices,
      users: (_incoming, response) =>
        sendJson(response, 404, { detail: 'No user 1.' }, { 'x-problem': 'user-not-found' }),
    });
    const result = await sendRequest(`${gateway.url}/api/users/1/profile`);
    assert.equal(result.status, 404);
    const problem = JSON.parse(result.text);
    assert.equal(problem.type, '/problems/user-not-found');
    assert.equal(problem.detail, 'No user 1.');
    assert.equal(problem.correlation_id, result.headers['x-correlation-id']);
  });

  it('returns 400 for an invalid id without calling a service', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    const result = await sendRequest(`${gateway.url}/api/users/abc/profile`);
    assert.equal(result.status, 400);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('returns the cause when the user is unavailable', async (context) => {
    const gateway = await startGateway(context, { ...healthyServices, upstreamTimeoutMs: 100 });
    async function assertFails(code: string, status: number, retryAfter?: string): Promise<void> {
      const result = await sendRequest(`${gateway.url}/api/users/1/profile`);
      assert.equal(result.headers['content-type'], 'application/problem+json; charset=utf-8');
      assert.deepEqual([JSON.parse(result.text).type, result.status], [`/problems/${code}`, status]);
      assert.equal(result.headers['retry-after'], retryAfter);
    }
    gateway.users.listener = (_incoming, response) =>
      sendJson(response, 503, {}, { 'x-problem': 'database-unavailable', 'retry-after': '2' });
    await assertFails('database-unavailable', 503, '2');
    gateway.users.listener = () => undefined;
    await assertFails('upstream-timeout', 504);
    await gateway.users.stop();
    await assertFails('upstream-failed', 502);
    await assertFails('upstream-unavailable', 503, '1');
  });

  it('does not wait for the orders when the user does not exist', async (context) => {
    const gateway = await startGateway(context, { users: jsonByPath({}), orders: () => undefined });
    const startedAt = performance.now();
    assert.equal((await sendRequest(`${gateway.url}/api/users/1/profile`)).status, 404);
    assert.ok(performance.now() - startedAt < 1000);
  });
});

describe('GET /api/dashboard', () => {
  const { schema } = gatewayOperations.getDashboard.response;
  const userNumbers = { total_users: 3 };
  const orderNumbers = { total_orders: 5, pending_orders: 2, completed_orders: 2, total_revenue: 1549.97 };

  it('returns the statistics of both services', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    const result = await sendRequest(`${gateway.url}/api/dashboard`);
    assert.deepEqual(schema.parse(JSON.parse(result.text)).data, { ...userNumbers, ...orderNumbers });
  });

  it('returns a partial result when one service is unavailable', async (context) => {
    const first = await startGateway(context, healthyServices);
    await first.orders.stop();
    const withoutOrders = schema.parse(
      JSON.parse((await sendRequest(`${first.url}/api/dashboard`)).text),
    ).data;
    assert.deepEqual(withoutOrders, {
      ...userNumbers,
      total_orders: null,
      pending_orders: null,
      completed_orders: null,
      total_revenue: null,
      degraded: [{ part: 'orders', reason: 'unreachable' }],
    });
    const second = await startGateway(context, healthyServices);
    await second.users.stop();
    const withoutUsers = schema.parse(
      JSON.parse((await sendRequest(`${second.url}/api/dashboard`)).text),
    ).data;
    assert.deepEqual(withoutUsers, {
      total_users: null,
      ...orderNumbers,
      degraded: [{ part: 'users', reason: 'unreachable' }],
    });
  });

  it('returns 503 when both services are unavailable', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    await Promise.all([gateway.users.stop(), gateway.orders.stop()]);
    const result = await sendRequest(`${gateway.url}/api/dashboard`);
    assert.equal(result.status, 503);
    assert.equal(result.headers['retry-after'], '1');
    assert.match(JSON.parse(result.text).detail, /users: unreachable, orders: unreachable/);
  });
});

describe('a configured aggregate', () => {
  const table = parseTable(
    `
upstreams: { user-service: {}, order-service: {} }
routes: []
aggregates:
  - path: /view/{constructor}
    parts:
      constructor: { upstream: user-service, path: '/things/{constructor}' }
      other: { upstream: order-service, path: /other }
    answer:
      whole: { from: constructor }
      inner: { from: constructor.__proto__.x, omit_null: true }
      prototype: { from: constructor.constructor, omit_null: true }
      other: { from: other.ok }
`,
    'table',
  );
  const orders = jsonByPath({ '/other': { ok: true } });

  it('returns members of any name and reads no prototype properties', async (context) => {
    const gateway = await startGateway(context, { table, orders });
    const body = '{"__proto__":{"x":1},"list":[1]}';
    gateway.users.listener = (_incoming, response) => response.end(body);
    const { text } = await sendRequest(`${gateway.url}/view/1`);
    assert.equal(text, `{"status":"success","data":{"whole":${body},"inner":1,"other":true}}`);
    for (const json of ['[]', 'null', '7', 'false']) {
      gateway.users.listener = (_incoming, response) => response.end(json);
      const { data } = JSON.parse((await sendRequest(`${gateway.url}/view/1`)).text);
      assert.deepEqual(data, { whole: JSON.parse(json), other: true });
    }
    assert.equal(Object.hasOwn(Object.prototype, 'x'), false);
  });

  it('marks a part as failed when its body is not JSON or larger than 10 MiB', async (context) => {
    const gateway = await startGateway(context, { table, orders, circuit: { volume: 1000 } });
    for (const body of [
      '',
      'not json',
      '{"half":',
      '<html></html>',
      Buffer.from([0xff, 0xfe, 0x7b]),
      JSON.stringify(Buffer.alloc(10 * 1024 * 1024, 'x').toString()),
      `[${'[],'.repeat(4 * 1024 * 1024)}1]`,
    ]) {
      gateway.users.listener = (_incoming, response) => response.end(body);
      const { status, text } = await sendRequest(`${gateway.url}/view/1`);
      assert.equal(status, 200, text);
      assert.deepEqual(JSON.parse(text).data, {
        whole: null,
        other: true,
        degraded: [{ part: 'constructor', reason: 'error' }],
      });
    }
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the calls');
  });

  it('passes on numbers without losing digits (RFC 8259, section 6)', async (context) => {
    const gateway = await startGateway(context, { table, orders });
    for (const number of [
      ...['12345678901234567890', '1e400', '-0', '0.1000', '1.0', '1E5', '-1e-400', '9007199254740993'],
      ...[
        '0.30000000000000004441',
        '1e+2',
        '-0.0',
        '3.141592653589793238462643383279',
        '100000000000000000000000',
      ],
    ]) {
      for (const body of [
        number,
        `[${number}]`,
        `{"a":${number},"b":[${number},{"c":${number}}]}`,
        `{ "text" : "\\"}[{\\\\" , "n" : ${number} }`,
      ]) {
        gateway.users.listener = (_incoming, response) => response.end(body);
        const { status, text } = await sendRequest(`${gateway.url}/view/1`);
        assert.equal(status, 200, text);
        assert.equal(text, `{"status":"success","data":{"whole":${body.trim()},"other":true}}`);
      }
      gateway.users.listener = (_incoming, response) =>
        response.end(`{"__proto__": {"x": 0}, "\\u005f_proto__" : { "y":"}", "x"\n:\t${number} } }`);
      const { data } =
        /"inner":(?<data>[^,]*)/.exec((await sendRequest(`${gateway.url}/view/1`)).text)?.groups ?? {};
      assert.equal(data, number, 'the last of several members with one name');
    }
  });

  it('parses a part after a byte order mark (RFC 8259, section 8.1)', async (context) => {
    const gateway = await startGateway(context, { table, orders });
    gateway.users.listener = (_incoming, response) => response.end('\uFEFF{"a":1}');
    assert.match((await sendRequest(`${gateway.url}/view/1`)).text, /"whole":\{"a":1\}/);
  });

  it('omits a part that is nested too deep', async (context) => {
    const gateway = await startGateway(context, { table, orders, circuit: { volume: 1000 } });
    for (const deep of [
      '['.repeat(20_000) + ']'.repeat(20_000),
      '{"a":'.repeat(20_000) + '1' + '}'.repeat(20_000),
      '{"a":['.repeat(300) + ']}'.repeat(300),
      '['.repeat(5_000_000),
    ]) {
      gateway.users.listener = (_incoming, response) => response.end(deep);
      const { status, text } = await sendRequest(`${gateway.url}/view/1`);
      assert.deepEqual(
        [status, JSON.parse(text).data.degraded],
        [200, [{ part: 'constructor', reason: 'error' }]],
      );
    }
    const allowed = '['.repeat(500) + ']'.repeat(500);
    gateway.users.listener = (_incoming, response) => response.end(allowed);
    assert.ok((await sendRequest(`${gateway.url}/view/1`)).text.includes(allowed));
  });

  it('decodes a part in a content coding (RFC 9110, section 8.4)', async (context) => {
    const gateway = await startGateway(context, { table, orders, circuit: { volume: 1000 } });
    const body = Buffer.from('{"a":1.50}');
    for (const [coding, encoded] of [
      ['gzip', gzipSync(body)],
      ['x-gzip', gzipSync(body)],
      ['GZIP', gzipSync(body)],
      ['deflate', deflateSync(body)],
      ['br', brotliCompressSync(body)],
      ['deflate, gzip', gzipSync(deflateSync(body))],
      ['identity', body],
    ] as const) {
      gateway.users.listener = (_incoming, response) =>
        response.writeHead(200, { 'content-encoding': coding }).end(encoded);
      assert.match((await sendRequest(`${gateway.url}/view/1`)).text, /"whole":\{"a":1\.50\}/, coding);
    }
    assert.equal(gateway.users.requests[0]?.headers['accept-encoding'], 'identity');
    for (const [coding, encoded] of [
      ['gzip', body],
      ['gzip', gzipSync(body).subarray(0, 12)],
      ['unheard-of', body],
      ['gzip', gzipSync(Buffer.alloc(40 * 1024 * 1024, ' '))],
    ] as const) {
      gateway.users.listener = (_incoming, response) =>
        response.writeHead(200, { 'content-encoding': coding }).end(encoded);
      const { data } = JSON.parse((await sendRequest(`${gateway.url}/view/1`)).text);
      assert.deepEqual(data.degraded, [{ part: 'constructor', reason: 'error' }], coding);
    }
  });

  it('propagates trace headers to its parts (W3C Trace Context; W3C Baggage)', async (context) => {
    const gateway = await startGateway(context, {
      table,
      orders,
      users: jsonByPath({ '/things/1': {} }),
      door: { trustsTraces: true },
    });
    const trace = {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'vendor=1,other=2',
      baggage: 'tenant=7',
    };
    await sendRequest(`${gateway.url}/view/1`, { headers: trace });
    const { headers } = await sendRequest(`${gateway.url}/view/1`, {
      headers: { ...trace, traceparent: 'none' },
    });
    for (const { requests } of [gateway.users, gateway.orders])
      assert.deepEqual(
        requests.map(({ headers: { traceparent, tracestate, baggage } }) => [
          traceparent,
          tracestate,
          baggage,
        ]),
        [Object.values(trace), [headers.traceresponse, undefined, trace.baggage]],
      );
  });

  it('passes on 401, 403, 404 and 429 of a required part from a foreign service, as configured', async (context) => {
    const foreign = parseTable(
      `
upstreams: { user-service: {}, order-service: {} }
routes: []
aggregates:
  - path: /all
    parts: { a: { upstream: user-service, path: /a, required: true }, b: { upstream: order-service, path: /b } }
    answer: { a: { from: a }, b: { from: b } }
  - path: /some
    parts: { a: { upstream: user-service, path: /a, required: true, kept_statuses: [404] } }
    answer: { a: { from: a } }
`,
      'table',
    );
    const gateway = await startGateway(context, { table: foreign, orders, circuit: { volume: 1000 } });
    const headers = { 'retry-after': '17', 'www-authenticate': 'Basic realm="other"' };
    for (const [status, code, all, some] of [
      [401, 'unauthenticated', 401, 502],
      [403, 'forbidden', 403, 502],
      [404, 'not-found', 404, 404],
      [429, 'rate-limited', 429, 502],
      [409, '', 502, 502],
      [500, '', 502, 502],
    ] as const) {
      gateway.users.listener = (_incoming, response) => response.writeHead(status, headers).end('secret');
      const result = await sendRequest(`${gateway.url}/all`);
      assert.equal(result.status, all, result.text);
      assert.doesNotMatch(result.text, /secret/);
      if (all === status) {
        assert.equal(result.headers['x-problem'], code);
        assert.equal(result.headers['retry-after'], '17');
        assert.equal(result.headers['www-authenticate'], 'Basic realm="other"');
      }
      assert.equal((await sendRequest(`${gateway.url}/some`)).status, some, String(status));
    }
    gateway.users.listener = (_incoming, response) => response.writeHead(401).end();
    assert.match(
      (await sendRequest(`${gateway.url}/all`)).headers['www-authenticate'] ?? '',
      /^Bearer realm/,
    );
  });

  it('requests only the configured path, whatever the placeholder contains', async (context) => {
    const gateway = await startGateway(context, { table, orders, users: jsonByPath({}) });
    for (const [sent, requested] of [
      ['%3Fx=1', '%3Fx%3D1'],
      ['a[1]|^', 'a%5B1%5D%7C%5E'],
      ['...', '...'],
    ]) {
      assert.equal(await statusOf(gateway.port, `/view/${sent}`), 200);
      assert.equal(gateway.users.requests.at(-1)?.url, `/things/${requested}`);
    }
    const before = gateway.users.requests.length;
    for (const sent of ['..', '%2e%2E', '.', '%2e', '%ff', '%', 'a%2Fb', '%5C..%5C', '%252e%252e']) {
      assert.equal(await statusOf(gateway.port, `/view/${sent}`), 400, sent);
    }
    assert.equal(gateway.users.requests.length, before);
  });
});

describe('GET /api/health', () => {
  const { schema } = gatewayOperations.getHealth.response;

  it('returns the health of each service', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    const end = await holdCall(gateway.upstreams.orders);
    const result = await sendRequest(`${gateway.url}/api/health`);
    end();
    const { circuits, checked_at, ...data } = schema.parse(JSON.parse(result.text)).data;
    assert.ok(circuits);
    assert.ok(Math.abs(Date.now() - Date.parse(checked_at)) < 5000);
    assert.deepEqual(
      [circuits.user_service.state, circuits.user_service.successes, circuits.order_service.failures],
      ['closed', 1, 0],
    );
    assert.deepEqual([circuits.user_service.in_flight, circuits.order_service.in_flight], [0, 1]);
    assert.deepEqual(data, {
      gateway: 'healthy',
      services: {
        user_service: userBodies['/api/users/health'].data,
        order_service: orderBodies['/api/orders/health'].data,
      },
      authentication: 'off',
      overall_status: 'healthy',
    });
  });

  it('returns circuits to admins only and forwards only the token of an admin', async (context) => {
    const gateway = await startGateway(context, {
      ...healthyServices,
      door: { authentication: testVerifier },
    });
    const url = `${gateway.url}/api/health`;
    for (const [headers, hasCircuits] of [
      [{}, false],
      [bearer('bob'), false],
      [bearer('ann', 'admin'), true],
    ] as const) {
      const { data } = schema.parse(JSON.parse((await sendRequest(url, { headers })).text));
      assert.deepEqual([data.overall_status, data.circuits !== undefined], ['healthy', hasCircuits]);
    }
    assert.deepEqual(
      gateway.orders.requests.map(({ headers }) => headers.authorization),
      [undefined, bearer('ann', 'admin').authorization],
    );
    assert.equal((await sendRequest(url, { headers: { authorization: 'Bearer made-up' } })).status, 401);
  });

  it('returns 200 with the status degraded when services are unavailable', async (context) => {
    const gateway = await startGateway(context, healthyServices);
    await gateway.orders.stop();
    const withoutOrders = await sendRequest(`${gateway.url}/api/health`);
    assert.equal(withoutOrders.status, 200);
    const { circuits, checked_at, ...data } = schema.parse(JSON.parse(withoutOrders.text)).data;
    assert.equal(circuits?.order_service.failures, 1);
    assert.deepEqual(data, {
      gateway: 'healthy',
      services: {
        user_service: userBodies['/api/users/health'].data,
        order_service: { service: 'order-service', status: 'unhealthy', reason: 'unreachable' },
      },
      authentication: 'off',
      overall_status: 'degraded',
    });
    await gateway.users.stop();
    // Results are shared for a second.
    await wait(Math.max(0, Date.parse(checked_at) + 1000 - Date.now()) + 50);
    const withoutBoth = await sendRequest(`${gateway.url}/api/health`);
    assert.equal(withoutBoth.status, 200);
    assert.equal(schema.parse(JSON.parse(withoutBoth.text)).data.services.user_service.status, 'unhealthy');
  });
});
