import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { shell } from '../kit/command.ts';
import { type System, startSystem } from '../kit/system.ts';
import { lines } from './lib/specification-lines.ts';

let system: System;

before(async () => {
  system = await startSystem();
});

after(() => system.close());

describe('the command lines of the specification', { skip: process.platform === 'win32' }, () => {
  /** Runs a command line against this system and returns the `data` of the JSON response. */
  const run = async (line: string) => {
    const { code, stdout, stderr } = await shell(line.replace('8000', new URL(system.gateway.url).port));
    assert.equal(code, 0, stderr);
    const response = JSON.parse(stdout);
    assert.equal(response.status, 'success', stdout);
    return response.data;
  };

  it('return the profile of Alice with her order', async () => {
    const { user, orders, ...rest } = await run(lines.profile);
    assert.deepEqual(rest, { total_orders: 1 });
    const { created_at, updated_at, ...alice } = user;
    assert.deepEqual(alice, { id: 1, name: 'Alice Johnson', email: 'alice@example.com', role: 'admin' });
    assert.equal(orders.length, 1);
    const { created_at: ordered, updated_at: changed, ...order } = orders[0];
    assert.deepEqual(order, {
      id: 1,
      user_id: 1,
      product: 'Laptop',
      quantity: 1,
      total: 999.99,
      status: 'completed',
    });
    for (const instant of [created_at, updated_at, ordered, changed]) {
      assert.equal(new Date(instant).toISOString().slice(0, 19), instant.slice(0, 19));
    }
  });

  it('return the dashboard of the demo data', async () => {
    assert.deepEqual(await run(lines.dashboard), {
      total_users: 3,
      total_orders: 5,
      pending_orders: 2,
      completed_orders: 2,
      total_revenue: 1549.97,
    });
  });

  it('return that every service is healthy', async () => {
    const { circuits, checked_at, ...health } = await run(lines.health);
    assert.ok(Date.parse(checked_at) <= Date.now());
    assert.deepEqual([circuits.user_service.state, circuits.order_service.state], ['closed', 'closed']);
    assert.deepEqual(health, {
      gateway: 'healthy',
      services: {
        user_service: { service: 'user-service', status: 'healthy', users_count: 3 },
        order_service: { service: 'order-service', status: 'healthy', orders_count: 5 },
      },
      authentication: 'off',
      overall_status: 'healthy',
    });
  });

  it('create a user, list all users, place an order, and return both in the dashboard', async () => {
    const user = await run(lines.createUser);
    assert.deepEqual(
      [user.id, user.name, user.email, user.role],
      [4, 'John Doe', 'john@example.com', 'user'],
    );
    const names = (await run(lines.listUsers)).map(({ name }: { name: string }) => name);
    assert.deepEqual(names, ['Alice Johnson', 'Bob Smith', 'Charlie Brown', 'John Doe']);
    const order = await run(lines.placeOrder);
    assert.deepEqual([order.id, order.user_id, order.total, order.status], [6, 1, 999.99, 'pending']);
    assert.deepEqual(await run(lines.dashboard), {
      total_users: 4,
      total_orders: 6,
      pending_orders: 3,
      completed_orders: 2,
      total_revenue: 1549.97,
    });
  });
});

describe('every endpoint of the specification through the gateway', () => {
  const api = (
    path: string,
    ...rest: Parameters<typeof sendRequest> extends [string, ...infer Rest] ? Rest : never
  ) => sendRequest(`${system.gateway.url}${path}`, ...rest);

  it('creates, reads, updates and deletes a user', async () => {
    const created = await api('/api/users', {
      method: 'POST',
      json: { name: 'Dora Grey', email: 'Dora@Example.com' },
    });
    assert.equal(created.status, 201, created.text);
    const path = `/api/users/${created.body.data.id}`;
    assert.equal(created.headers.location, path);
    assert.equal((await api(path)).body.data.email, 'dora@example.com');

    const changed = await api(path, { method: 'PUT', json: { name: 'Dora Green' } });
    assert.equal(changed.status, 200, changed.text);
    assert.deepEqual([changed.body.data.name, changed.body.data.email], ['Dora Green', 'dora@example.com']);

    const deleted = await api(path, { method: 'DELETE' });
    assert.deepEqual([deleted.status, deleted.body.data], [200, { message: 'User deleted' }]);
    const afterDelete = await api(path);
    assert.deepEqual([afterDelete.status, afterDelete.body.type], [404, '/problems/user-not-found']);
  });

  it('returns 409 when the e-mail address is taken', async () => {
    const response = await api('/api/users', {
      method: 'POST',
      json: { name: 'A', email: 'ALICE@example.com' },
    });
    assert.deepEqual([response.status, response.body.type], [409, '/problems/email-taken']);
    assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json/);
    assert.equal(response.body.correlation_id, response.headers['x-correlation-id']);
  });

  it('places an order, changes its status and cancels another one', async () => {
    const place = async () =>
      (
        await api('/api/orders', {
          method: 'POST',
          json: { user_id: 2, product: 'Desk', quantity: 2, total: 80.5 },
        })
      ).body.data.id;
    const id = await place();
    const changed = await api(`/api/orders/${id}/status`, { method: 'PUT', json: { status: 'processing' } });
    assert.deepEqual([changed.status, changed.body.data.status], [200, 'processing']);
    assert.equal((await api(`/api/orders/${id}`)).body.data.status, 'processing');

    const invalid = await api(`/api/orders/${id}/status`, { method: 'PUT', json: { status: 'completed' } });
    assert.deepEqual([invalid.status, invalid.body.type], [409, '/problems/invalid-transition']);

    const cancelled = await api(`/api/orders/${await place()}`, { method: 'DELETE' });
    assert.deepEqual([cancelled.status, cancelled.body.data.status], [200, 'cancelled']);
  });

  it('lists all orders and the orders of one user', async () => {
    const all = await api('/api/orders');
    assert.ok(all.body.data.length >= 5);
    assert.deepEqual(all.body.page, { next: null });
    const ofBob = await api('/api/orders/user/2');
    assert.ok(ofBob.body.data.length > 0);
    for (const order of ofBob.body.data) assert.equal(order.user_id, 2);
    const ofUnknown = await api('/api/orders/user/4711');
    assert.deepEqual([ofUnknown.status, ofUnknown.body.data], [200, []]);
  });

  it('returns every order once across pages', async () => {
    const ids: number[] = [];
    let path = '/api/orders?limit=2';
    while (true) {
      const { body } = await api(path);
      assert.ok(body.data.length <= 2);
      ids.push(...body.data.map(({ id }: { id: number }) => id));
      if (body.page.next === null) break;
      path = `/api/orders?limit=2&cursor=${body.page.next}`;
    }
    const allIds = (await api('/api/orders')).body.data.map(({ id }: { id: number }) => id);
    assert.deepEqual(ids, allIds);
  });

  it('returns the health of each service instead of matching {id}', async () => {
    assert.equal((await api('/api/users/health')).body.data.service, 'user-service');
    assert.equal((await api('/api/orders/health')).body.data.service, 'order-service');
  });

  it('places one order for repeated requests with the same Idempotency-Key', async () => {
    const order = {
      method: 'POST',
      json: { user_id: 3, product: 'Lamp', quantity: 1, total: 12 },
      headers: { 'idempotency-key': 'lamp-for-charlie' },
    } as const;
    const first = await api('/api/orders', order);
    const second = await api('/api/orders', order);
    assert.equal(first.status, 201, first.text);
    assert.deepEqual(second.body, first.body);
    assert.equal(second.headers['idempotency-replayed'], 'true');
  });

  it("returns the client's correlation id", async () => {
    const response = await api('/api/users/1', { headers: { 'x-correlation-id': 'from-the-client-1' } });
    assert.equal(response.headers['x-correlation-id'], 'from-the-client-1');
  });

  it('serves the API documentation at /openapi.json and /docs', async () => {
    const { status, body } = await api('/openapi.json');
    assert.equal(status, 200);
    for (const path of [
      '/api/users/{id}',
      '/api/orders/{id}/status',
      '/api/users/{id}/profile',
      '/api/dashboard',
    ]) {
      assert.ok(body.paths[path], path);
    }
    const docs = await api('/docs');
    assert.equal(docs.status, 200);
    assert.match(docs.headers['content-type'] ?? '', /^text\/html/);
  });
});
