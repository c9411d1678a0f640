import assert from 'node:assert/strict';
import { it } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { startGateway } from '../../testing/gateway.ts';
import { parseTable } from './read-table.ts';

it('adds a service with table entries: routes, an aggregate and a health path', async (context) => {
  const billing = await startHttpServer(context, (request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url === '/healthz') response.end('{"data":{"service":"billing","status":"healthy"}}');
    else
      response.end(
        JSON.stringify({ path: request.url, method: request.method, sum: null, host: request.headers.host }),
      );
  });
  const table = parseTable(
    `
upstreams:
  user-service: { health: /api/users/health }
  order-service: {}
  billing: { health: /healthz, host: caller }
routes:
  - { path: '/bills/*', methods: [GET], upstream: billing }
  - { path: /bills, methods: [POST], upstream: billing }
  - { path: '/{page}', methods: [GET], upstream: billing }
aggregates:
  - path: /overview/{id}
    parts:
      bill: { upstream: billing, path: '/bills/{id}', required: true }
      orders: { upstream: order-service, path: '/api/orders/user/{id}', timeout_ms: 50 }
    answer:
      bill: { from: bill.path }
      sum: { from: bill.sum, omit_null: true }
      orders: { from: orders.data, missing: none }
`,
    'table',
  );
  const gateway = await startGateway(context, {
    table,
    others: { billing: billing.url },
    orders: () => undefined,
  });

  const received = JSON.parse(
    (await sendRequest(`${gateway.url}/bills/2026/1?x=1`, { headers: { host: 'shop.test' } })).text,
  );
  assert.deepEqual(received, { path: '/bills/2026/1?x=1', method: 'GET', sum: null, host: 'shop.test' });
  assert.equal((await sendRequest(`${gateway.url}/bills`, { method: 'POST' })).status, 200);
  assert.equal((await sendRequest(`${gateway.url}/bills`)).status, 405);
  assert.equal(
    (await sendRequest(`${gateway.url}/api/users/1`)).status,
    404,
    'paths that are not in the table are not forwarded',
  );

  const overview = await sendRequest(`${gateway.url}/overview/a%207`);
  assert.deepEqual(JSON.parse(overview.text).data, {
    bill: '/bills/a%207',
    orders: 'none',
    degraded: [{ part: 'orders', reason: 'timeout' }],
  });
  assert.equal(overview.headers['cache-control'], 'no-store');
  const ordersMs = Number(gateway.orders.requests[0]?.headers['x-request-timeout-ms']);
  assert.ok(ordersMs > 0 && ordersMs <= 50, `${ordersMs} ms`);

  assert.equal(JSON.parse((await sendRequest(`${gateway.url}/welcome`)).text).path, '/welcome');
  assert.match(
    (await sendRequest(`${gateway.url}/docs`)).text,
    /<title>/,
    'own endpoints take precedence over routes',
  );

  const { services, circuits } = JSON.parse((await sendRequest(`${gateway.url}/api/health`)).text).data;
  assert.deepEqual(services.billing, { service: 'billing', status: 'healthy' });
  assert.equal(circuits.billing.state, 'closed');
});
