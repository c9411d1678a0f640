import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';

let app: Express;
let database: Database;
/** State of user-service. Users up to 100 exist. */
let userService: 'available' | 'unavailable';

before(async () => {
  ({ app, database } = await openTestApp({
    async exists(userId) {
      if (userService === 'available') return userId <= 100;
      throw new Failure('dependency-unavailable', { retryAfterSeconds: 1 });
    },
  }));
});
beforeEach(() => {
  userService = 'available';
});
after(() => database.close());

const desk = { user_id: 1, product: 'Desk', quantity: 2, total: 80.5 };

async function place(order: object = {}): Promise<{ id: number; path: string }> {
  const { body } = await request(app)
    .post('/api/orders')
    .send({ ...desk, ...order })
    .expect(201);
  return { id: body.data.id, path: `/api/orders/${body.data.id}` };
}

async function countOrders(): Promise<number> {
  return (await request(app).get('/api/orders/stats').expect(200)).body.data.orders;
}

describe('POST /api/orders', () => {
  it('returns the stored pending order with ETag and Location', async () => {
    const { body, headers } = await request(app).post('/api/orders').send(desk).expect(201);
    const { id, created_at, updated_at, ...rest } = body.data;
    assert.deepEqual(rest, { ...desk, status: 'pending' });
    assert.equal(created_at, updated_at);
    assert.deepEqual([headers.etag, headers.location], ['"1"', `/api/orders/${id}`]);
    assert.deepEqual((await request(app).get(`/api/orders/${id}`)).body, body);
  });

  it('lists every invalid member', async () => {
    const wrong = { user_id: '1', product: ' ', quantity: 0, total: 1.005, status: 'completed' };
    const { body } = await request(app).post('/api/orders').send(wrong).expect(422);
    assert.deepEqual(body.errors.map(({ path }: { path: string }) => path).sort(), [
      'product',
      'quantity',
      'status',
      'total',
      'user_id',
    ]);
  });

  it('returns 422 and stores nothing for an unknown user', async () => {
    const countBefore = await countOrders();
    const { body } = await request(app)
      .post('/api/orders')
      .send({ ...desk, user_id: 101 })
      .expect(422);
    assert.deepEqual([body.type, body.errors[0].path], ['/problems/unknown-user', 'user_id']);
    assert.equal(await countOrders(), countBefore);
  });

  it('returns 503 with Retry-After and stores nothing when user-service is unavailable', async () => {
    const countBefore = await countOrders();
    userService = 'unavailable';
    // A user who is not in the projection.
    const orderOfUnknownUser = { ...desk, user_id: 77 };
    const post = () =>
      request(app).post('/api/orders').set('idempotency-key', 'patient').send(orderOfUnknownUser);
    const { body, headers } = await post().expect(503);
    assert.deepEqual(
      [body.type, headers['x-problem']],
      ['/problems/dependency-unavailable', 'dependency-unavailable'],
    );
    assert.ok(Number(headers['retry-after']) >= 1);
    assert.equal(await countOrders(), countBefore);
    userService = 'available';
    await post().expect(201);
  });

  it('places one order for one Idempotency-Key, and replays it when user-service is unavailable', async () => {
    const post = () => request(app).post('/api/orders').set('idempotency-key', 'one').send(desk);
    const first = await post().expect(201);
    await request(app)
      .delete(first.headers.location ?? '')
      .expect(200);
    const countBefore = await countOrders();
    userService = 'unavailable';
    const second = await post().expect(201);
    assert.deepEqual(second.body, first.body);
    assert.equal(second.headers['idempotency-replayed'], 'true');
    assert.equal(await countOrders(), countBefore);
    const conflicting = request(app)
      .post('/api/orders')
      .set('idempotency-key', 'one')
      .send({ ...desk, quantity: 3 });
    assert.equal((await conflicting.expect(422)).body.type, '/problems/idempotency-key-reused');
  });

  it('places one order for concurrent duplicates', async () => {
    const countBefore = await countOrders();
    const duplicates = await Promise.all(
      Array.from({ length: 8 }, () =>
        request(app).post('/api/orders').set('idempotency-key', 'duplicates').send(desk),
      ),
    );
    assert.deepEqual(
      [...new Set(duplicates.map(({ status, body }) => `${status} ${body.data?.id}`))].length,
      1,
    );
    assert.equal(duplicates.filter(({ headers }) => headers['idempotency-replayed'] !== 'true').length, 1);
    assert.equal(await countOrders(), countBefore + 1);
  });
});

describe('GET /api/orders', () => {
  it('returns all orders page by page', async () => {
    for (let count = 0; count < 5; count += 1) await place();
    const ids: number[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await request(app).get(`/api/orders?limit=2${cursor}`).expect(200);
      ids.push(...body.data.map(({ id }: { id: number }) => id));
      if (body.page.next === null) break;
      cursor = `&cursor=${body.page.next}`;
    }
    assert.equal(ids.length, await countOrders());
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    );
  });

  it('filters by user and status and rejects unknown parameters and values', async () => {
    const { id, path } = await place({ user_id: 42 });
    await place({ user_id: 42 });
    await request(app).delete(path).expect(200);
    const { body } = await request(app).get('/api/orders?user_id=42&status=cancelled').expect(200);
    assert.deepEqual(
      body.data.map((order: { id: number }) => order.id),
      [id],
    );
    for (const query of ['status=lost', 'user_id=0', 'user_id=x', 'product=Desk']) {
      await request(app).get(`/api/orders?${query}`).expect(400);
    }
  });
});

describe('GET /api/orders/user/{user_id}', () => {
  it('returns a page of the orders of the user with the total', async () => {
    for (let count = 0; count < 3; count += 1) await place({ user_id: 43 });
    const { body } = await request(app).get('/api/orders/user/43?limit=2').expect(200);
    assert.deepEqual([body.data.length, body.page.total], [2, 3]);
    assert.ok(body.page.next);
    const lastPage = await request(app)
      .get(`/api/orders/user/43?limit=2&cursor=${body.page.next}`)
      .expect(200);
    assert.deepEqual([lastPage.body.data.length, lastPage.body.page], [1, { next: null, total: 3 }]);
  });

  it('returns an empty list for a user without orders', async () => {
    const { body } = await request(app).get('/api/orders/user/99999').expect(200);
    assert.deepEqual(body, { status: 'success', data: [], page: { next: null, total: 0 } });
  });
});

describe('PUT /api/orders/{id}/status', () => {
  it('moves an order through its lifecycle and rejects invalid transitions', async () => {
    const { path } = await place();
    for (const status of ['processing', 'shipped', 'completed']) {
      const { body } = await request(app).put(`${path}/status`).send({ status }).expect(200);
      assert.equal(body.data.status, status);
    }
    const { body } = await request(app).put(`${path}/status`).send({ status: 'cancelled' }).expect(409);
    assert.deepEqual(
      [body.type, body.detail],
      ['/problems/invalid-transition', 'The transition from completed to cancelled is not allowed.'],
    );
  });

  it('returns 412 for failed preconditions', async () => {
    const { path } = await place();
    const put = (status: string) =>
      request(app).put(`${path}/status`).set('if-match', '"1"').send({ status });
    assert.equal((await put('processing').expect(200)).headers.etag, '"2"');
    assert.equal((await put('shipped').expect(412)).headers.etag, '"2"');
    // RFC 9110, section 13.1.2.
    for (const call of [
      request(app).put(`${path}/status`).send({ status: 'shipped' }),
      request(app).delete(path),
    ])
      assert.equal((await call.set('if-none-match', '*').expect(412)).headers.etag, '"2"');
    await request(app).get(path).set('if-match', '"1"').expect(412);
  });

  it('rejects an unknown status', async () => {
    const { path } = await place();
    await request(app).put(`${path}/status`).send({ status: 'lost' }).expect(422);
  });
});

describe('DELETE /api/orders/{id}', () => {
  it('cancels an order and returns 409 for a second request', async () => {
    const { path } = await place();
    assert.equal((await request(app).delete(path).expect(200)).body.data.status, 'cancelled');
    assert.equal((await request(app).get(path).expect(200)).body.data.status, 'cancelled');
    assert.equal((await request(app).delete(path).expect(409)).body.type, '/problems/invalid-transition');
  });
});

describe('order-service', () => {
  it('returns 304 for the current version', async () => {
    const { path } = await place();
    await request(app).get(path).set('if-none-match', '"1"').expect(304);
    await request(app).delete(path).expect(200);
    await request(app).get(path).set('if-none-match', '"1"').expect(200);
  });

  it('returns 404 for unknown orders', async () => {
    for (const response of [
      await request(app).get('/api/orders/2147483647'),
      await request(app).delete('/api/orders/2147483647'),
      await request(app).put('/api/orders/2147483647/status').send({ status: 'shipped' }),
    ]) {
      assert.deepEqual([response.status, response.body.type], [404, '/problems/order-not-found']);
    }
  });

  it('returns exact sums in its statistics', async () => {
    const stats = async () => (await request(app).get('/api/orders/stats').expect(200)).body.data;
    const statsBefore = await stats();
    for (const total of [0.1, 0.2, 999.99]) {
      const { path } = await place({ total });
      for (const status of ['processing', 'shipped', 'completed']) {
        await request(app).put(`${path}/status`).send({ status }).expect(200);
      }
    }
    const statsAfter = await stats();
    assert.equal(statsAfter.orders, statsBefore.orders + 3);
    assert.equal(statsAfter.by_status.completed.count, statsBefore.by_status.completed.count + 3);
    const sum = Math.round(statsBefore.by_status.completed.total * 100) + 10 + 20 + 99_999;
    assert.equal(statsAfter.by_status.completed.total, sum / 100);
  });

  it('returns its health at /api/orders/health', async () => {
    const { body } = await request(app).get('/api/orders/health').expect(200);
    assert.deepEqual(body.data, {
      service: 'order-service',
      status: 'healthy',
      orders_count: await countOrders(),
    });
  });

  it('serves its OpenAPI document', async () => {
    const { body } = await request(app).get('/openapi.json').expect(200);
    assert.deepEqual(body, JSON.parse(JSON.stringify(documentOf(orderServiceContract))));
  });
});
