import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createTestIssuer, type TestIssuer } from '@zerda/chassis/auth/testing-issuer';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { CallerKind } from '@zerda/contracts/authorization';
import { orderOperations } from '@zerda/contracts/orders';
import { problemTypes } from '@zerda/contracts/problems';
import { authorizationCases, type TestRequest } from '@zerda/contracts/testing-authorization';
import type { Express } from 'express';
import request from 'supertest';
import { insertOrder } from '../store/order-store.ts';
import { openTestApp } from '../testing.ts';

let app: Express;
let database: Database;
let issuer: TestIssuer;

/** Whose everything is that is asked for. */
const owner = 1;

before(async () => {
  issuer = await createTestIssuer();
  ({ app, database } = await openTestApp({ exists: async () => true }, issuer.verifier));
});
after(() => database.close());

const tokens: Readonly<Record<CallerKind, () => Promise<string> | undefined>> = {
  anonymous: () => undefined,
  'bad-token': () => issuer.token({ userId: owner, role: 'admin' }, { exp: 1 }),
  stranger: () => issuer.token({ subject: 'machine' }),
  'user-other': () => issuer.token({ userId: 2 }),
  'user-self': () => issuer.token({ userId: owner }),
  admin: () => issuer.token({ userId: 3, role: 'admin' }),
};

async function ask({ method, path, body }: TestRequest, token: string | undefined) {
  const asked = request(app)[method](path);
  if (token !== undefined) asked.set('authorization', `Bearer ${token}`);
  return body === undefined ? asked : asked.send(body);
}

function placed(userId = owner): Promise<number> {
  const order = { user_id: userId, product: 'Laptop', quantity: 1, total: 1 };
  return database.write(async (tx) => (await insertOrder(tx, order)).id);
}

/** For each row of the table a request that is right in every way, for what is the owner's. */
const requests: Readonly<Record<string, () => Promise<TestRequest>>> = {
  orderHealth: async () => ({ method: 'get', path: '/api/orders/health' }),
  orderStats: async () => ({ method: 'get', path: '/api/orders/stats' }),
  listOrders: async () => ({ method: 'get', path: '/api/orders' }),
  listOrdersOfUser: async () => ({ method: 'get', path: `/api/orders/user/${owner}` }),
  getOrder: async () => ({ method: 'get', path: `/api/orders/${await placed()}` }),
  placeOrder: async () => ({
    method: 'post',
    path: '/api/orders',
    body: { user_id: owner, product: 'Phone', quantity: 1, total: 2 },
  }),
  updateOrderStatus: async () => ({
    method: 'put',
    path: `/api/orders/${await placed()}/status`,
    body: { status: 'processing' },
  }),
  'updateOrderStatus to cancelled': async () => ({
    method: 'put',
    path: `/api/orders/${await placed()}/status`,
    body: { status: 'cancelled' },
  }),
  cancelOrder: async () => ({ method: 'delete', path: `/api/orders/${await placed()}` }),
};

describe('order-service answers', () => {
  for (const { name, kind, status } of authorizationCases(orderOperations)) {
    it(`${name} by ${kind} with ${status}`, async () => {
      const make = requests[name];
      assert.ok(make, `there is no request for ${name}`);
      const answer = await ask(await make(), await tokens[kind]());
      assert.equal(answer.status, status, answer.text);
      if (status === 401) assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer realm="zerda"/);
      if (status === 403) assert.match(answer.headers['www-authenticate'] ?? '', /insufficient_scope/);
    });
  }
});

describe('health of order-service', () => {
  const health = { method: 'get', path: '/api/orders/health' } as const;

  it('has the number of orders for admins only', async () => {
    for (const kind of ['anonymous', 'stranger', 'user-other', 'user-self', 'admin'] as const) {
      const { body } = await ask(health, await tokens[kind]());
      const { orders_count, ...rest } = body.data;
      assert.deepEqual(rest, { service: 'order-service', status: 'healthy' }, kind);
      assert.equal(typeof orders_count, kind === 'admin' ? 'number' : 'undefined', kind);
    }
  });

  it('needs no keys for a request without a token', async () => {
    const verifier = {
      verify: () => Promise.reject(new Failure('identity-unavailable', { headers: { 'Retry-After': '1' } })),
    };
    const unsure = await openTestApp({ exists: async () => true }, verifier);
    try {
      await request(unsure.app).get(health.path).expect(200);
      await request(unsure.app).get(health.path).set('authorization', 'Bearer any').expect(503);
    } finally {
      await unsure.database.close();
    }
  });

  it('is no 200 for any caller when the database does not respond', async () => {
    const lost = await openTestApp({ exists: async () => true }, issuer.verifier);
    await lost.database.close();
    const { status, body } = await request(lost.app).get(health.path);
    assert.deepEqual([status >= 500, body.data], [true, undefined]);
  });
});

describe('what belongs to another user', () => {
  const idsOf = (body: { data: { user_id: number }[] }) => [
    ...new Set(body.data.map(({ user_id }) => user_id)),
  ];

  it('is in no list of a user, whatever they ask for', async () => {
    await Promise.all([placed(2), placed(2), placed(owner)]);
    const self = await tokens['user-self']();
    const list = async (query: string) =>
      (await ask({ method: 'get', path: `/api/orders?${query}` }, self)).body;
    assert.deepEqual(idsOf(await list('')), [owner]);
    assert.deepEqual(await list('user_id=2'), { status: 'success', data: [], page: { next: null } });
    assert.deepEqual(idsOf(await list('limit=1')), [owner]);
    const { body } = await ask({ method: 'get', path: '/api/orders?limit=100' }, await tokens.admin());
    assert.ok(idsOf(body).length > 1);
    const none = await ask({ method: 'get', path: '/api/orders' }, await tokens.stranger());
    assert.deepEqual(none.body.data, []);
  });

  it('looks like what does not exist, to the last byte that is the same for all', async () => {
    const token = await tokens['user-self']();
    const theirs = await placed(2);
    const missing = 2_000_000_000;
    for (const kind of [
      { method: 'get', rest: '' },
      { method: 'delete', rest: '' },
      { method: 'put', rest: '/status', body: { status: 'cancelled' } },
      { method: 'put', rest: '/status', body: { status: 'completed' } },
    ] as const) {
      const [there, absent] = await Promise.all(
        [theirs, missing].map((id) =>
          ask({ ...kind, path: `/api/orders/${id}${kind.rest}` }, token).then(({ status, body }) => {
            const { instance: _path, correlation_id: _id, ...rest } = body;
            return { status, ...rest };
          }),
        ),
      );
      assert.deepEqual(there, absent);
      assert.equal(there?.status, problemTypes['order-not-found'].status);
    }
    const { body } = await ask({ method: 'get', path: `/api/orders/${theirs}` }, await tokens.admin());
    assert.deepEqual([body.data.status, body.data.user_id], ['pending', 2], 'and is as it was');
  });

  it('is not told by a key that both use for their own request', async () => {
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
