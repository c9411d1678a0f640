import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { it } from 'node:test';
import { parseTable } from './routes/read-table.ts';
import { ask, startGateway } from './testing.ts';

it('another service is added by entries in the table: routes, an aggregate, its health', async (context) => {
  const billing = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url === '/healthz') response.end('{"data":{"service":"billing","status":"healthy"}}');
    else
      response.end(
        JSON.stringify({ path: request.url, method: request.method, sum: null, host: request.headers.host }),
      );
  });
  await new Promise<void>((resolve) => billing.listen(0, '127.0.0.1', resolve));
  context.after(() => billing.close());
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
  const { port } = billing.address() as AddressInfo;
  const gateway = await startGateway(context, {
    table,
    others: { billing: `http://127.0.0.1:${port}` },
    orders: () => undefined,
  });

  const got = JSON.parse(
    (await ask(`${gateway.url}/bills/2026/1?x=1`, { headers: { host: 'shop.test' } })).text,
  );
  assert.deepEqual(got, { path: '/bills/2026/1?x=1', method: 'GET', sum: null, host: 'shop.test' });
  assert.equal((await ask(`${gateway.url}/bills`, { method: 'POST' })).status, 200);
  assert.equal((await ask(`${gateway.url}/bills`)).status, 405);
  assert.equal(
    (await ask(`${gateway.url}/api/users/1`)).status,
    404,
    'what is not in this table is not forwarded',
  );

  const overview = await ask(`${gateway.url}/overview/a%207`);
  assert.deepEqual(JSON.parse(overview.text).data, {
    bill: '/bills/a%207',
    orders: 'none',
    degraded: [{ part: 'orders', reason: 'timeout' }],
  });
  assert.equal(overview.headers['cache-control'], 'no-store');
  const ordersMs = Number(gateway.orders.requests[0]?.headers['x-request-timeout-ms']);
  assert.ok(ordersMs > 0 && ordersMs <= 50, `${ordersMs} ms`);

  assert.equal(JSON.parse((await ask(`${gateway.url}/welcome`)).text).path, '/welcome');
  assert.match((await ask(`${gateway.url}/docs`)).text, /<title>/, 'what the gateway answers stays its own');

  const { services, circuits } = JSON.parse((await ask(`${gateway.url}/api/health`)).text).data;
  assert.deepEqual(services.billing, { service: 'billing', status: 'healthy' });
  assert.equal(circuits.billing.state, 'closed');
});
