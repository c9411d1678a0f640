import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { openPostgres, type PostgresDatabase } from '@zerda/chassis/database/postgres-database';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { describeOnEachEngine, urlOf } from '@zerda/chassis/testing/database';
import { silentLogger } from '@zerda/chassis/testing/observed';
import { countRoundTrips, type RoundTripCounter } from '@zerda/chassis/testing/round-trips';
import { migrations } from '../../testing/app.ts';
import type { Order } from '../domain/order.ts';
import { createPlaceOrder } from '../domain/place-order.ts';
import { addKnownUsers } from './known-users.ts';
import { createOrderStore } from './order-store.ts';

describeOnEachEngine('round trips to the database', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counter: RoundTripCounter;
  let database: PostgresDatabase;

  before(async () => {
    counter = await countRoundTrips(await urlOf(await openDatabase()));
    database = openPostgres({
      url: counter.url,
      statementTimeoutMs: 5000,
      poolSize: 1,
      connectTimeoutMs: 5000,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await database.query((db) => addKnownUsers(db, [7]));
  });
  after(async () => {
    await database.close();
    counter.close();
  });

  async function roundTripsOf(work: () => Promise<unknown>): Promise<number> {
    const before = counter.count;
    await work();
    return counter.count - before;
  }

  it('are four for an order of a known user, with and without a key', async () => {
    const orders = createOrderStore(database);
    const placeOrder = createPlaceOrder({ orders, users: { exists: () => Promise.reject(new Error()) } });
    const idempotency = createIdempotency(database);
    const order = { user_id: 7, product: 'Desk', quantity: 1, total: 10 };
    assert.equal(await roundTripsOf(() => placeOrder(order)), 4);
    const keyed = { key: '1', caller: 'x', method: 'POST', path: '/', body: order };
    const place = () =>
      idempotency.run(
        keyed,
        (once) => placeOrder(order, once),
        ({ id }: Order) => ({ body: id }),
        { readsFirst: false },
      );
    assert.equal(await roundTripsOf(place), 4);
  });

  it('are four for a change of status', async () => {
    const orders = createOrderStore(database);
    const { id } = (await orders.place({ user_id: 7, product: 'Desk', quantity: 1, total: 10 })) as Order;
    assert.equal(await roundTripsOf(() => orders.changeStatus(id, () => 'processing')), 4);
  });

  it('is one for a read', async () => {
    const orders = createOrderStore(database);
    assert.equal(await roundTripsOf(() => orders.countOf(7)), 1);
  });
});
