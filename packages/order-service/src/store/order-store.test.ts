import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { parsePreconditions } from '@zerda/chassis/http/entity-tag';
import { concurrentRuns, countWrites, describeOnEachEngine } from '@zerda/chassis/testing/database';
import { isFailure } from '@zerda/chassis/testing/observed';
import { orderEvents } from '@zerda/contracts/order-service/events';
import { type NewOrder, type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { eq, sql } from 'drizzle-orm';
import fc from 'fast-check';
import { migrations } from '../../testing/app.ts';
import { eventsIn } from '../../testing/events.ts';
import { countRowsByStatus, placeOf } from '../../testing/orders.ts';
import { toCents } from '../domain/money.ts';
import type { Order } from '../domain/order.ts';
import { moveStatus } from '../domain/order-status.ts';
import { addKnownUsers } from './known-users.ts';
import { createOrderStore, type OrderStore } from './order-store.ts';
import { orders } from './tables.ts';

describeOnEachEngine('order store', { migrations }, (openDatabase) => {
  let database: Database;
  let store: OrderStore;

  before(async () => {
    database = await openDatabase();
    store = createOrderStore(database);
  });

  async function place(order: Partial<NewOrder> = {}): Promise<Order> {
    return placeOf(store, { user_id: 1, ...order });
  }

  const toStatus = (status: OrderStatus) => (from: OrderStatus) => moveStatus(from, status);

  async function countRowsOf(userId: number): Promise<number> {
    const [row] = await database.query((db) =>
      db.select({ orders: sql<number>`count(*)` }).from(orders).where(eq(orders.userId, userId)),
    );
    return row?.orders ?? Number.NaN;
  }

  it('uses one connection for concurrent orders of one user', async () => {
    const counting = countWrites(database);
    const countingStore = createOrderStore(counting.database);
    const order = { user_id: 77, product: 'Desk', quantity: 1, total: 10 };
    await database.query((db) => addKnownUsers(db, [77]));
    await Promise.all(Array.from({ length: 10 }, () => countingStore.place(order)));
    assert.deepEqual([counting.maxWrites, await store.countOf(77)], [1, 10]);
  });

  it('finds a placed order with status pending, version 1 and the exact total', async () => {
    const order = await place({ total: 9_999_999.99, quantity: 1_000_000 });
    assert.deepEqual([order.status, order.version, order.totalCents], ['pending', 1, 999_999_999]);
    assert.deepEqual(await store.find(order.id), order);
  });

  it('changes the status and increments the version', async () => {
    const { id } = await place();
    const changed = await store.changeStatus(id, toStatus('processing'));
    assert.deepEqual([changed.status, changed.version], ['processing', 2]);
    assert.deepEqual(await store.find(id), changed);
  });

  it('changes nothing when the transition is rejected', async () => {
    const order = await place();
    const countsBefore = await store.countByStatus();
    await assert.rejects(
      store.changeStatus(order.id, toStatus('completed')),
      isFailure('invalid-transition'),
    );
    assert.deepEqual(await store.find(order.id), order);
    assert.deepEqual(await store.countByStatus(), countsBefore);
  });

  it('writes only if the version matches the precondition', async () => {
    const { id } = await place();
    await store.changeStatus(id, toStatus('processing'), parsePreconditions({ ifMatch: '"1"' }));
    await assert.rejects(
      store.changeStatus(id, toStatus('cancelled'), parsePreconditions({ ifMatch: '"1"' })),
      isFailure('precondition-failed'),
    );
    await store.changeStatus(id, toStatus('cancelled'), parsePreconditions({ ifMatch: '"2"' }));
  });

  it('allows one of many concurrent writers to make a change that is possible once', async () => {
    const { id } = await place();
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, n) =>
        store.changeStatus(id, toStatus(n % 2 ? 'processing' : 'cancelled')),
      ),
    );
    const { status, version } = await store.find(id);
    const changeCount = results.filter((result) => result.status === 'fulfilled').length;
    assert.equal(version, 1 + changeCount);
    // The change to processing can precede the cancellation; no change can follow it.
    assert.ok(
      changeCount === 1 || (changeCount === 2 && status === 'cancelled'),
      `${changeCount} changes, status ${status}`,
    );
  });

  it('throws order-not-found for an unknown order', async () => {
    await assert.rejects(store.find(2_147_483_647), isFailure('order-not-found'));
    await assert.rejects(
      store.changeStatus(2_147_483_647, toStatus('processing')),
      isFailure('order-not-found'),
    );
  });

  it('lists by user and status, page by page', async () => {
    const userId = 4711;
    const placed: number[] = [];
    for (let count = 0; count < 5; count += 1) placed.push((await place({ user_id: userId })).id);
    await place({ user_id: userId + 1 });
    const [first, second] = placed;
    await store.changeStatus(first ?? 0, toStatus('cancelled'));

    const ids = async (selection: Parameters<OrderStore['list']>[0]) =>
      (await store.list(selection)).map(({ id }) => id);
    assert.deepEqual(await ids({ userId, limit: 2 }), placed.slice(0, 2));
    assert.deepEqual(await ids({ userId, limit: 10, after: second }), placed.slice(2));
    assert.deepEqual(await ids({ userId, status: 'cancelled', limit: 10 }), [first]);
    assert.deepEqual(await ids({ userId, status: 'pending', limit: 10 }), placed.slice(1));
    assert.deepEqual(await ids({ userId: 4713, limit: 10 }), []);
  });

  it('writes one event per version of an order', async () => {
    const { id } = await place({ total: 12.5 });
    await store.changeStatus(id, toStatus('processing'));
    await assert.rejects(store.changeStatus(id, toStatus('completed')));
    await store.changeStatus(id, toStatus('cancelled'));
    const events = (await eventsIn(database)).filter(({ subject }) => subject === `orders/${id}`);
    assert.deepEqual(
      events.map(({ type, source, sequence }) => [type, source, sequence]),
      [
        ['zerda.order.created.v1', '/order-service', '0000000001'],
        ['zerda.order.status_changed.v1', '/order-service', '0000000002'],
        ['zerda.order.cancelled.v1', '/order-service', '0000000003'],
      ],
    );
    const [created, moved, cancelled] = events.map(({ data }) => data);
    assert.equal(orderEvents.orderCreated.data.parse(created).total, 12.5);
    const { from, to } = orderEvents.orderStatusChanged.data.parse(moved);
    assert.deepEqual([from, to], ['pending', 'processing']);
    const { reason } = orderEvents.orderCancelled.data.parse(cancelled);
    assert.equal(reason, 'requested');
  });

  it('keeps the counters consistent and does not deadlock with 32 concurrent writers', async () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('place' as const),
        userId: fc.integer({ min: 1, max: 3 }),
        total: fc.integer({ min: 1, max: 999_999_999 }).map((cents) => cents / 100),
      }),
      fc.record({
        kind: fc.constant('move' as const),
        at: fc.nat({ max: 99 }),
        status: fc.constantFrom(...orderStatuses),
      }),
    );
    const ids = [(await place()).id];
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 64, maxLength: 64 }), async (history) => {
        const queue = history.values();
        const write = async (): Promise<void> => {
          for (const step of queue) {
            if (step.kind === 'place')
              ids.push((await place({ user_id: step.userId, total: step.total })).id);
            else {
              const moving = store.changeStatus(ids[step.at % ids.length] ?? 0, toStatus(step.status));
              await moving.catch((error: unknown) =>
                assert.ok(isFailure('invalid-transition')(error), String(error)),
              );
            }
          }
        };
        await Promise.all(Array.from({ length: 32 }, write));
        assert.deepEqual(await store.countByStatus(), await countRowsByStatus(database));
        for (const userId of [1, 2, 3]) assert.equal(await store.countOf(userId), await countRowsOf(userId));
      }),
      { numRuns: concurrentRuns(database, 12) },
    );
  });

  it('sums totals beyond 32 bits of cents', async () => {
    const { pending } = await store.countByStatus();
    for (let count = 0; count < 5; count += 1) await place({ total: 9_999_999.99 });
    const grown = (await store.countByStatus()).pending;
    assert.equal(grown.totalCents - pending.totalCents, 5 * toCents(9_999_999.99));
  });
});
