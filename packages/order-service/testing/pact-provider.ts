import { createTestIssuer } from '@zerda/chassis/testing/issuer';
import { pactAdminToken } from '@zerda/chassis/testing/pact-library';
import type { PactProvider } from '@zerda/chassis/testing/pact-provider';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { sql } from 'drizzle-orm';
import request from 'supertest';
import { openTestApp } from './app.ts';
import { eventsIn } from './events.ts';

/** Opens order-service on an embedded database for the verification of pacts. Each state starts with empty tables; all users exist. */
export async function openPactProvider(): Promise<PactProvider> {
  const issuer = await createTestIssuer();
  const { app, database } = await openTestApp({ exists: async () => true }, issuer.verifier);
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

  async function placeOrder(userId: number): Promise<string> {
    const placed = await request(app)
      .post('/api/orders')
      .set(await adminHeaders())
      .send({ user_id: userId, product: 'Laptop', quantity: 1, total: 999.99 })
      .expect(201);
    return placed.headers.location as string;
  }

  return {
    name: orderServiceContract.name,
    listener: (incoming, response) => app(incoming, response),
    states: {
      'no order exists': removeOrders,
      'a user has orders': async ({ user_id: userId, count }) => {
        await removeOrders();
        for (let placed = 0; placed < Number(count); placed += 1) await placeOrder(Number(userId));
      },
    },
    async findEvent(type) {
      await removeOrders();
      const path = await placeOrder(7);
      const headers = await adminHeaders();
      await request(app).put(`${path}/status`).set(headers).send({ status: 'processing' }).expect(200);
      await request(app).delete(path).set(headers).expect(200);
      return (await eventsIn(database)).find((event) => event.type === type);
    },
    async credentials({ headers }) {
      return headers.authorization === `Bearer ${pactAdminToken}` ? adminHeaders() : {};
    },
    close: () => database.close(),
  };
}
