import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startPostgres, type TestPostgres } from '../../packages/chassis/src/database/testing-postgres.ts';
import { eventually } from './lib/eventually.ts';
import { call } from './lib/http.ts';
import { type System, startSystem } from './lib/system.ts';

const admin = { email: 'root@example.com', password: 'unmistakable horse 4711' };

const title = 'while the database of users is unavailable';
const postgres = await startPostgres();
if (postgres !== undefined) {
  describe(title, () => suite(postgres));
} else if (process.env.REQUIRE_POSTGRES === '1') {
  it(title, () => {
    throw new Error('REQUIRE_POSTGRES=1, but no PostgreSQL is installed');
  });
} else {
  it(`${title}: skipped, no PostgreSQL is installed`, { skip: true }, () => undefined);
}

function suite(database: TestPostgres): void {
  let system: System;
  let headers: Record<string, string>;

  before(async () => {
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
      const answer = await call(`${system.gateway.url}/api/auth/login`, { method: 'POST', json: admin });
      assert.equal(answer.status, 200, answer.text);
      return answer;
    });
    headers = { authorization: `Bearer ${body.data.access_token}` };
    await expectOrders();
    await database.kill();
  });
  after(async () => {
    await system?.close();
    await database.stop();
  });

  /** @throws AssertionError unless orders are read and placed with the token */
  async function expectOrders(): Promise<void> {
    const read = await call(`${system.gateway.url}/api/orders`, { headers });
    assert.equal(read.status, 200, read.text);
    const json = { user_id: 2, product: 'Desk', quantity: 1, total: 10 };
    const placed = await call(`${system.gateway.url}/api/orders`, { method: 'POST', json, headers });
    assert.equal(placed.status, 201, placed.text);
  }

  it('user-service publishes its last keys', async () => {
    const { status, body, text } = await call(`${system.users.url}/.well-known/jwks.json`);
    assert.equal(status, 200, text);
    assert.equal(body.keys.length, 1);
  });

  it('a gateway and an order-service that start then accept tokens from their first request', async () => {
    for (const service of [system.gateway, system.orders]) {
      await service.stop();
      await service.start();
    }
    for (let request = 0; request < 20; request += 1) await expectOrders();
  });

  it('they accept tokens without user-service as well: order-service stores the keys', async () => {
    await system.users.kill();
    for (const service of [system.gateway, system.orders]) await service.stop();
    await system.orders.start();
    await system.gateway.start();
    for (let request = 0; request < 20; request += 1) await expectOrders();
  });

  it('a token of another issuer is refused, not taken for one that cannot be verified', async () => {
    const [header, payload] = (headers.authorization ?? '').split('.');
    const forged = { authorization: [header, payload, 'A'.repeat(86)].join('.') };
    const { status } = await call(`${system.gateway.url}/api/orders`, { headers: forged });
    assert.equal(status, 401);
  });
}
