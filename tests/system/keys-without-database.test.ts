import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { describeWithPostgres, startPostgres } from '../../packages/chassis/testing/postgres.ts';
import type { ServerProcess } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { type System, startSystem } from '../kit/system.ts';

const admin = { email: 'root@example.com', password: 'unmistakable horse 4711' };

await describeWithPostgres('while the database of users is unavailable', () => {
  let database: ServerProcess;
  let system: System;
  let headers: Record<string, string>;

  before(async () => {
    const started = await startPostgres();
    assert.ok(started);
    database = started;
    const identity = {
      AUTH_KEY_SECRET: 'the secret of the keys of this test',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_ADMIN_PASSWORD: admin.password,
    };
    system = await startSystem(
      { AUTH: 'required' },
      { 'user-service': { DATABASE_URL: database.url, ...identity } },
    );
    const { body } = await eventually(async () => {
      const response = await sendRequest(`${system.gateway.url}/api/auth/login`, {
        method: 'POST',
        json: admin,
      });
      assert.equal(response.status, 200, response.text);
      return response;
    });
    headers = { authorization: `Bearer ${body.data.access_token}` };
    await expectOrders();
    await database.kill();
  });
  after(async () => {
    await system?.close();
    await database?.stop();
  });

  /** @throws AssertionError if orders cannot be read or placed with the token */
  async function expectOrders(): Promise<void> {
    const read = await sendRequest(`${system.gateway.url}/api/orders`, { headers });
    assert.equal(read.status, 200, read.text);
    const json = { user_id: 2, product: 'Desk', quantity: 1, total: 10 };
    const placed = await sendRequest(`${system.gateway.url}/api/orders`, { method: 'POST', json, headers });
    assert.equal(placed.status, 201, placed.text);
  }

  it('user-service serves its last keys', async () => {
    const { status, body, text } = await sendRequest(`${system.users.url}/.well-known/jwks.json`);
    assert.equal(status, 200, text);
    assert.equal(body.keys.length, 1);
  });

  it('a restarted gateway and order-service accept tokens from the first request', async () => {
    for (const service of [system.gateway, system.orders]) {
      await service.stop();
      await service.start();
    }
    for (let request = 0; request < 20; request += 1) await expectOrders();
  });

  it('a restarted gateway and order-service accept tokens without user-service, since order-service stores the keys', async () => {
    await system.users.kill();
    for (const service of [system.gateway, system.orders]) await service.stop();
    await system.orders.start();
    await system.gateway.start();
    for (let request = 0; request < 20; request += 1) await expectOrders();
  });

  it('a forged token gets 401, not 503', async () => {
    const [header, payload] = (headers.authorization ?? '').split('.');
    const forged = { authorization: [header, payload, 'A'.repeat(86)].join('.') };
    const { status } = await sendRequest(`${system.gateway.url}/api/orders`, { headers: forged });
    assert.equal(status, 401);
  });
});
