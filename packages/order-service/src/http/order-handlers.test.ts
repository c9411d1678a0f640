import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { documents } from '@zerda/contracts/openapi/documents';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../testing.ts';

let app: Express;
let database: Database;
/** Whether user-service can be asked; users up to 100 exist. */
let asked: 'answers' | 'is away';

before(async () => {
  ({ app, database } = await openTestApp({
    async exists(userId) {
      if (asked === 'answers') return userId <= 100;
      throw new Failure('dependency-unavailable', { headers: { 'Retry-After': '1' } });
    },
  }));
});
beforeEach(() => {
  asked = 'answers';
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
  it('answers the order as stored, pending, with its version and its path', async () => {
    const { body, headers } = await request(app).post('/api/orders').send(desk).expect(201);
    const { id, created_at, updated_at, ...rest } = body.data;
    assert.deepEqual(rest, { ...desk, status: 'pending' });
    assert.equal(created_at, updated_at);
    assert.deepEqual([headers.etag, headers.location], ['"1"', `/api/orders/${id}`]);
    assert.deepEqual((await request(app).get(`/api/orders/${id}`)).body, body);
  });

  it('names every member that does not fit', async () => {
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

  it('answers 422 for a user who does not exist, and stores nothing', async () => {
    const counted = await countOrders();
    const { body } = await request(app)
      .post('/api/orders')
      .send({ ...desk, user_id: 101 })
      .expect(422);
    assert.deepEqual([body.type, body.errors[0].path], ['/problems/unknown-user', 'user_id']);
    assert.equal(await countOrders(), counted);
  });

  it('answers 503 when it cannot be known whether the user exists, says when to come back, and stores nothing', async () => {
    const counted = await countOrders();
    asked = 'is away';
    // Somebody of whom no event and no earlier order has told.
    const stranger = { ...desk, user_id: 77 };
    const post = () => request(app).post('/api/orders').set('idempotency-key', 'patient').send(stranger);
    const { body, headers } = await post().expect(503);
    assert.deepEqual(
      [body.type, headers['x-problem']],
      ['/problems/dependency-unavailable', 'dependency-unavailable'],
    );
    assert.ok(Number(headers['retry-after']) >= 1);
    assert.equal(await countOrders(), counted);
    asked = 'answers';
    await post().expect(201);
  });

  it('places once for one Idempotency-Key, and answers a repeat although the user cannot be asked for', async () => {
    const post = () => request(app).post('/api/orders').set('idempotency-key', 'one').send(desk);
    const first = await post().expect(201);
    await request(app)
      .delete(first.headers.location ?? '')
      .expect(200);
    const counted = await countOrders();
    asked = 'is away';
    const second = await post().expect(201);
    assert.deepEqual(second.body, first.body);
    assert.equal(second.headers['idempotency-replayed'], 'true');
    assert.equal(await countOrders(), counted);
    const other = request(app)
      .post('/api/orders')
      .set('idempotency-key', 'one')
      .send({ ...desk, quantity: 3 });
    assert.equal((await other.expect(422)).body.type, '/problems/idempotency-key-reused');
  });

  it('places once for twins at the same time', async () => {
    const counted = await countOrders();
    const twins = await Promise.all(
      Array.from({ length: 8 }, () =>
        request(app).post('/api/orders').set('idempotency-key', 'twins').send(desk),
      ),
    );
    assert.deepEqual([...new Set(twins.map(({ status, body }) => `${status} ${body.data?.id}`))].length, 1);
    assert.equal(twins.filter(({ headers }) => headers['idempotency-replayed'] !== 'true').length, 1);
    assert.equal(await countOrders(), counted + 1);
  });
});

describe('GET /api/orders', () => {
  it('answers pages that lead to the end', async () => {
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

  it('filters by user and status, and refuses what it does not know', async () => {
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
  it('answers a page of the orders of the user, with the number of all of them', async () => {
    for (let count = 0; count < 3; count += 1) await place({ user_id: 43 });
    const { body } = await request(app).get('/api/orders/user/43?limit=2').expect(200);
    assert.deepEqual([body.data.length, body.page.total], [2, 3]);
    assert.ok(body.page.next);
    const rest = await request(app).get(`/api/orders/user/43?limit=2&cursor=${body.page.next}`).expect(200);
    assert.deepEqual([rest.body.data.length, rest.body.page], [1, { next: null, total: 3 }]);
  });

  it('answers an empty list for a user without orders', async () => {
    const { body } = await request(app).get('/api/orders/user/99999').expect(200);
    assert.deepEqual(body, { status: 'success', data: [], page: { next: null, total: 0 } });
  });
});

describe('PUT /api/orders/{id}/status', () => {
  it('leads an order through its life', async () => {
    const { path } = await place();
    for (const status of ['processing', 'shipped', 'completed']) {
      const { body } = await request(app).put(`${path}/status`).send({ status }).expect(200);
      assert.equal(body.data.status, status);
    }
    const { body } = await request(app).put(`${path}/status`).send({ status: 'cancelled' }).expect(409);
    assert.deepEqual(
      [body.type, body.detail],
      ['/problems/invalid-transition', 'An order that is completed cannot become cancelled.'],
    );
  });

  it('refuses a change of another version than the caller has seen', async () => {
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

  it('refuses a status that there is none of', async () => {
    const { path } = await place();
    await request(app).put(`${path}/status`).send({ status: 'lost' }).expect(422);
  });
});

describe('DELETE /api/orders/{id}', () => {
  it('cancels an order and answers it, once', async () => {
    const { path } = await place();
    assert.equal((await request(app).delete(path).expect(200)).body.data.status, 'cancelled');
    assert.equal((await request(app).get(path).expect(200)).body.data.status, 'cancelled');
    assert.equal((await request(app).delete(path).expect(409)).body.type, '/problems/invalid-transition');
  });
});

describe('order-service', () => {
  it('answers 304 to who has the current version', async () => {
    const { path } = await place();
    await request(app).get(path).set('if-none-match', '"1"').expect(304);
    await request(app).delete(path).expect(200);
    await request(app).get(path).set('if-none-match', '"1"').expect(200);
  });

  it('does not find what is not there', async () => {
    for (const answer of [
      await request(app).get('/api/orders/2147483647'),
      await request(app).delete('/api/orders/2147483647'),
      await request(app).put('/api/orders/2147483647/status').send({ status: 'shipped' }),
    ]) {
      assert.deepEqual([answer.status, answer.body.type], [404, '/problems/order-not-found']);
    }
  });

  it('adds up what its statistics show, to the cent', async () => {
    const stats = async () => (await request(app).get('/api/orders/stats').expect(200)).body.data;
    const before = await stats();
    for (const total of [0.1, 0.2, 999.99]) {
      const { path } = await place({ total });
      for (const status of ['processing', 'shipped', 'completed']) {
        await request(app).put(`${path}/status`).send({ status }).expect(200);
      }
    }
    const grown = await stats();
    assert.equal(grown.orders, before.orders + 3);
    assert.equal(grown.by_status.completed.count, before.by_status.completed.count + 3);
    const sum = Math.round(before.by_status.completed.total * 100) + 10 + 20 + 99_999;
    assert.equal(grown.by_status.completed.total, sum / 100);
  });

  it('tells its health, which no id shadows', async () => {
    const { body } = await request(app).get('/api/orders/health').expect(200);
    assert.deepEqual(body.data, {
      service: 'order-service',
      status: 'healthy',
      orders_count: await countOrders(),
    });
  });

  it('serves its contract', async () => {
    const { body } = await request(app).get('/openapi.json').expect(200);
    assert.deepEqual(body, JSON.parse(JSON.stringify(documents['order-service'])));
  });
});
