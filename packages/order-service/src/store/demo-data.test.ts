import assert from 'node:assert/strict';
import { it } from 'node:test';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';
import { loadDemoOrders } from './demo-data.ts';

it('the demo orders match the dashboard and the profile in the specification', async (context) => {
  const { app, database } = await openTestApp({ exists: async () => true });
  context.after(() => database.close());
  await database.transaction(loadDemoOrders);
  const { orders, by_status } = (await request(app).get('/api/orders/stats').expect(200)).body.data;
  assert.deepEqual(
    [orders, by_status.pending.count, by_status.completed],
    [5, 2, { count: 2, total: 1549.97 }],
  );
  const { data, page } = (await request(app).get('/api/orders/user/1').expect(200)).body;
  const { created_at, updated_at, ...order } = data[0];
  assert.deepEqual(order, {
    id: 1,
    user_id: 1,
    product: 'Laptop',
    quantity: 1,
    total: 999.99,
    status: 'completed',
  });
  assert.equal(page.total, 1);
});
