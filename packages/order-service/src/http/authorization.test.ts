import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { createTestIssuer, type TestIssuer } from '@zerda/chassis/testing/issuer';
import type { CallerKind } from '@zerda/contracts/authorization';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { problemTypes } from '@zerda/contracts/problems';
import { authorizationCases, type TestRequest } from '@zerda/contracts/testing/authorization';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';
import { insertOrder } from '../store/order-store.ts';

let app: Express;
let database: Database;
let issuer: TestIssuer;

/** Id of the user who owns the requested resources. */
const owner = 1;

before(async () => {
  issuer = await createTestIssuer();
  ({ app, database } = await openTestApp({ exists: async () => true }, issuer.verifier));
});
after(() => database.close());

const tokens: Readonly<Record<CallerKind, () => Promise<string> | undefined>> = {
  anonymous: () => undefined,
  'bad-token': () => issuer.token({ userId: owner, role: 'admin' }, { exp: 1 }),
  unregistered: () => issuer.token({ subject: 'machine' }),
  'user-other': () => issuer.token({ userId: 2 }),
  'user-self': () => issuer.token({ userId: owner }),
  admin: () => issuer.token({ userId: 3, role: 'admin' }),
};

async function send({ method, path, body }: TestRequest, token: string | undefined) {
  const test = request(app)[method](path);
  if (token !== undefined) test.set('authorization', `Bearer ${token}`);
  return body === undefined ? test : test.send(body);
}

/** Places an order and returns its id. */
function placeOrder(userId = owner): Promise<number> {
  const order = { user_id: userId, product: 'Laptop', quantity: 1, total: 1 };
  return database.transaction(async (tx) => (await insertOrder(tx, order)).id);
}

/** A valid request for each row of the table, for a resource of `owner`. */
const requests: Readonly<Record<string, () => Promise<TestRequest>>> = {
  orderHealth: async () => ({ method: 'get', path: '/api/orders/health' }),
  orderStats: async () => ({ method: 'get', path: '/api/orders/stats' }),
  listOrders: async () => ({ method: 'get', path: '/api/orders' }),
  listOrdersOfUser: async () => ({ method: 'get', path: `/api/orders/user/${owner}` }),
  getOrder: async () => ({ method: 'get', path: `/api/orders/${await placeOrder()}` }),
  placeOrder: async () => ({
    method: 'post',
    path: '/api/orders',
    body: { user_id: owner, product: 'Phone', quantity: 1, total: 2 },
  }),
  updateOrderStatus: async () => ({
    method: 'put',
    path: `/api/orders/${await placeOrder()}/status`,
    body: { status: 'processing' },
  }),
  'updateOrderStatus to cancelled': async () => ({
    method: 'put',
    path: `/api/orders/${await placeOrder()}/status`,
    body: { status: 'cancelled' },
  }),
  cancelOrder: async () => ({ method: 'delete', path: `/api/orders/${await placeOrder()}` }),
};

describe('authorization in order-service', () => {
  for (const { name, kind, status } of authorizationCases(orderServiceContract)) {
    it(`returns ${status} for ${name} by ${kind}`, async () => {
      const createRequest = requests[name];
      assert.ok(createRequest, `no request for ${name}`);
      const response = await send(await createRequest(), await tokens[kind]());
      assert.equal(response.status, status, response.text);
      if (status === 401) assert.match(response.headers['www-authenticate'] ?? '', /^Bearer realm="zerda"/);
      if (status === 403) assert.match(response.headers['www-authenticate'] ?? '', /insufficient_scope/);
    });
  }
});

describe('health of order-service', () => {
  const health = { method: 'get', path: '/api/orders/health' } as const;

  it('includes the number of orders only for admins', async () => {
    for (const kind of ['anonymous', 'unregistered', 'user-other', 'user-self', 'admin'] as const) {
      const { body } = await send(health, await tokens[kind]());
      const { orders_count, ...rest } = body.data;
      assert.deepEqual(rest, { service: 'order-service', status: 'healthy' }, kind);
      assert.equal(typeof orders_count, kind === 'admin' ? 'number' : 'undefined', kind);
    }
  });

  it('requires signing keys only for requests with a token', async () => {
    const verifier = {
      verify: () => Promise.reject(new Failure('identity-unavailable', { retryAfterSeconds: 1 })),
    };
    const withoutKeys = await openTestApp({ exists: async () => true }, verifier);
    try {
      await request(withoutKeys.app).get(health.path).expect(200);
      await request(withoutKeys.app).get(health.path).set('authorization', 'Bearer any').expect(503);
    } finally {
      await withoutKeys.database.close();
    }
  });

  it('returns 5xx when the database does not respond', async () => {
    const closed = await openTestApp({ exists: async () => true }, issuer.verifier);
    await closed.database.close();
    const { status, body } = await request(closed.app).get(health.path);
    assert.deepEqual([status >= 500, body.data], [true, undefined]);
  });
});

describe('orders of another user', () => {
  const idsOf = (body: { data: { user_id: number }[] }) => [
    ...new Set(body.data.map(({ user_id }) => user_id)),
  ];

  it('are excluded from lists for any query', async () => {
    await Promise.all([placeOrder(2), placeOrder(2), placeOrder(owner)]);
    const self = await tokens['user-self']();
    const list = async (query: string) =>
      (await send({ method: 'get', path: `/api/orders?${query}` }, self)).body;
    assert.deepEqual(idsOf(await list('')), [owner]);
    assert.deepEqual(await list('user_id=2'), { status: 'success', data: [], page: { next: null } });
    assert.deepEqual(idsOf(await list('limit=1')), [owner]);
    const { body } = await send({ method: 'get', path: '/api/orders?limit=100' }, await tokens.admin());
    assert.ok(idsOf(body).length > 1);
    const none = await send({ method: 'get', path: '/api/orders' }, await tokens.unregistered());
    assert.deepEqual(none.body.data, []);
  });

  it('get the same response as orders that do not exist', async () => {
    const token = await tokens['user-self']();
    const otherOrder = await placeOrder(2);
    const missingOrder = 2_000_000_000;
    for (const kind of [
      { method: 'get', rest: '' },
      { method: 'delete', rest: '' },
      { method: 'put', rest: '/status', body: { status: 'cancelled' } },
      { method: 'put', rest: '/status', body: { status: 'completed' } },
    ] as const) {
      const [existing, missing] = await Promise.all(
        [otherOrder, missingOrder].map((id) =>
          send({ ...kind, path: `/api/orders/${id}${kind.rest}` }, token).then(({ status, body }) => {
            const { instance: _path, correlation_id: _id, trace_id: _trace, ...rest } = body;
            return { status, ...rest };
          }),
        ),
      );
      assert.deepEqual(existing, missing);
      assert.equal(existing?.status, problemTypes['order-not-found'].status);
    }
    const { body } = await send({ method: 'get', path: `/api/orders/${otherOrder}` }, await tokens.admin());
    assert.deepEqual([body.data.status, body.data.user_id], ['pending', 2], 'the order is unchanged');
  });

  it('are not revealed by an Idempotency-Key that both users send', async () => {
    const place = async (userId: number) => {
      const body = { user_id: userId, product: 'Same', quantity: 1, total: 3 };
      return request(app)
        .post('/api/orders')
        .set('authorization', `Bearer ${await issuer.token({ userId })}`)
        .set('idempotency-key', 'the-same-key')
        .send(body);
    };
    const [first, second] = [await place(1), await place(2)];
    assert.deepEqual([first.body.data.user_id, second.body.data.user_id], [1, 2]);
    assert.equal(second.headers['idempotency-replayed'], undefined);
  });
});
