import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { createKeySet } from '@zerda/chassis/auth/key-set';
import { type HttpResponse, sendRequest } from '@zerda/chassis/testing/http';
import { openHttpServer } from '@zerda/chassis/testing/http-server';
import { createTestIssuer } from '@zerda/chassis/testing/issuer';
import { pactAdminToken } from '@zerda/chassis/testing/pact-library';
import type { PactProvider } from '@zerda/chassis/testing/pact-provider';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { sql } from 'drizzle-orm';
import { openTestApp } from './app.ts';
import { eventsIn } from './events.ts';

/** Opens order-service on an embedded database for the verification of pacts. Each state starts with empty tables; all users exist. */
export async function openPactProvider(): Promise<PactProvider> {
  const issuer = await createTestIssuer();
  const { app, database } = await openTestApp(
    { exists: async () => true },
    issuer.verifier,
    createKeySet({ load: async () => issuer.keySet }),
  );
  const { url, stop } = await openHttpServer(app);
  // Placing a page of orders would take seconds with a connection for each.
  const agent = new Agent({ keepAlive: true });
  const adminHeaders = async () => ({
    authorization: `Bearer ${await issuer.token({ userId: 1, role: 'admin' })}`,
  });

  async function removeOrders(): Promise<void> {
    await database.transaction((tx) =>
      tx.execute(
        sql`truncate orders, order_counters, user_order_counters, known_users, outbox restart identity`,
      ),
    );
  }

  /** Sends a request of an admin. @throws AssertionError if it fails */
  async function send(method: string, path: string, json?: object): Promise<HttpResponse> {
    const response = await sendRequest(url + path, { method, json, agent, headers: await adminHeaders() });
    assert.ok(response.status < 300, `${method} ${path}: ${response.status} ${response.text}`);
    return response;
  }

  async function placeOrder(userId: number): Promise<string> {
    const order = { user_id: userId, product: 'Laptop', quantity: 1, total: 999.99 };
    const { headers } = await send('POST', '/api/orders', order);
    return String(headers.location);
  }

  return {
    name: orderServiceContract.name,
    listener: (incoming, response) => app(incoming, response),
    states: {
      'no order exists': removeOrders,
      'the keys of access tokens are known': removeOrders,
      'a user has orders': async ({ user_id: userId, count }) => {
        await removeOrders();
        for (let placed = 0; placed < Number(count); placed += 1) await placeOrder(Number(userId));
      },
    },
    async findEvent(type) {
      await removeOrders();
      const path = await placeOrder(7);
      await send('PUT', `${path}/status`, { status: 'processing' });
      await send('DELETE', path);
      return (await eventsIn(database)).find((event) => event.type === type);
    },
    async credentials({ headers }) {
      return headers.authorization === `Bearer ${pactAdminToken}` ? adminHeaders() : {};
    },
    async close() {
      agent.destroy();
      await stop();
      await database.close();
    },
  };
}
