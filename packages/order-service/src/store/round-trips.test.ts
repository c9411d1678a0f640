import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { describeOnEachEngine, urlOf } from '@zerda/chassis/testing/database';
import { type CountedDatabase, openCountedDatabase } from '@zerda/chassis/testing/round-trips';
import { migrations } from '../../testing/app.ts';
import type { Order } from '../domain/order.ts';
import { createPlaceOrder } from '../domain/place-order.ts';
import { addKnownUsers } from './known-users.ts';
import { createOrderStore } from './order-store.ts';

describeOnEachEngine('round trips to the database', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counted: CountedDatabase;

  before(async () => {
    counted = await openCountedDatabase(await urlOf(await openDatabase()));
    await counted.database.query((db) => addKnownUsers(db, [7]));
  });
  after(() => counted.close());

  it('are four for an order of a known user, with and without a key', async () => {
    const orders = createOrderStore(counted.database);
    const placeOrder = createPlaceOrder({ orders, users: { exists: () => Promise.reject(new Error()) } });
    const idempotency = createIdempotency(counted.database);
    const order = { user_id: 7, product: 'Desk', quantity: 1, total: 10 };
    assert.equal(await counted.roundTripsOf(() => placeOrder(order)), 4);
    const keyed = { key: '1', caller: 'x', method: 'POST', path: '/', body: order };
    const place = () =>
      idempotency.run(
        keyed,
        (once) => placeOrder(order, once),
        ({ id }: Order) => ({ body: id }),
        { readsFirst: false },
      );
    assert.equal(await counted.roundTripsOf(place), 4);
  });

  it('are four for a change of status', async () => {
    const orders = createOrderStore(counted.database);
    const { id } = (await orders.place({ user_id: 7, product: 'Desk', quantity: 1, total: 10 })) as Order;
    assert.equal(await counted.roundTripsOf(() => orders.changeStatus(id, () => 'processing')), 4);
  });

  it('is one for a read', async () => {
    const orders = createOrderStore(counted.database);
    assert.equal(await counted.roundTripsOf(() => orders.countOf(7)), 1);
  });
});
