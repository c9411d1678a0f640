import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { countWrites, describeOnEachEngine } from '@zerda/chassis/database/testing';
import { parsePreconditions } from '@zerda/chassis/http/entity-tag';
import { isFailure } from '@zerda/chassis/testing';
import { orderEvents } from '@zerda/contracts/events/orders';
import { type NewOrder, type OrderStatus, orderStatuses } from '@zerda/contracts/orders';
import { eq, sql } from 'drizzle-orm';
import fc from 'fast-check';
import { toCents } from '../domain/money.ts';
import { moveStatus } from '../domain/order-status.ts';
import { migrations } from '../testing.ts';
import { eventsIn } from '../testing-events.ts';
import type { StatusCount } from './order-counters.ts';
import { createOrderStore, type OrderStore } from './order-store.ts';
import { orders, type StoredOrder } from './tables.ts';

describeOnEachEngine('order store', { migrations }, (open) => {
  let database: Database;
  let store: OrderStore;

  before(async () => {
    database = await open();
    store = createOrderStore(database);
  });

  async function place(order: Partial<NewOrder> = {}): Promise<StoredOrder> {
    const whole = { user_id: 1, product: 'Desk', quantity: 1, total: 10, ...order };
    const { body } = await store.place(whole, undefined, (stored) => ({ body: stored }));
    return body;
  }

  const to = (status: OrderStatus) => (from: OrderStatus) => moveStatus(from, status);

  async function recount(): Promise<Record<OrderStatus, StatusCount>> {
    const rows = await database.read((db) =>
      db
        .select({
          status: orders.status,
          orders: sql<number>`count(*)`,
          totalCents: sql<number>`sum(${orders.totalCents})::int8`,
        })
        .from(orders)
        .groupBy(orders.status),
    );
    return Object.fromEntries(
      orderStatuses.map((status) => {
        const { orders: count, totalCents } = rows.find((row) => row.status === status) ?? {
          orders: 0,
          totalCents: 0,
        };
        return [status, { orders: count, totalCents }];
      }),
    ) as Record<OrderStatus, StatusCount>;
  }

  async function recountOf(userId: number): Promise<number> {
    const [row] = await database.read((db) =>
      db.select({ orders: sql<number>`count(*)` }).from(orders).where(eq(orders.userId, userId)),
    );
    return row?.orders ?? Number.NaN;
  }

  it('uses one connection for concurrent orders of one user', async () => {
    const counting = countWrites(database);
    const counted = createOrderStore(counting.database);
    const order = { user_id: 77, product: 'Desk', quantity: 1, total: 10 };
    await Promise.all(
      Array.from({ length: 10 }, () => counted.place(order, undefined, ({ id }) => ({ body: id }))),
    );
    assert.deepEqual([counting.mostWrites, await store.countOf(77)], [1, 10]);
  });

  it('finds what was placed: pending, in version 1, every cent of it', async () => {
    const order = await place({ total: 9_999_999.99, quantity: 1_000_000 });
    assert.deepEqual([order.status, order.version, order.totalCents], ['pending', 1, 999_999_999]);
    assert.deepEqual(await store.find(order.id), order);
  });

  it('changes the status by the rule it is given, and raises the version', async () => {
    const { id } = await place();
    const changed = await store.changeStatus(id, to('processing'));
    assert.deepEqual([changed.status, changed.version], ['processing', 2]);
    assert.deepEqual(await store.find(id), changed);
  });

  it('changes nothing when the rule refuses', async () => {
    const order = await place();
    const counted = await store.countByStatus();
    await assert.rejects(store.changeStatus(order.id, to('completed')), isFailure('invalid-transition'));
    assert.deepEqual(await store.find(order.id), order);
    assert.deepEqual(await store.countByStatus(), counted);
  });

  it('writes on the version that was named, and on no other', async () => {
    const { id } = await place();
    await store.changeStatus(id, to('processing'), parsePreconditions({ ifMatch: '"1"' }));
    await assert.rejects(
      store.changeStatus(id, to('cancelled'), parsePreconditions({ ifMatch: '"1"' })),
      isFailure('precondition-failed'),
    );
    await store.changeStatus(id, to('cancelled'), parsePreconditions({ ifMatch: '"2"' }));
  });

  it('lets one of many writers at the same time make a change that is possible once', async () => {
    const { id } = await place();
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, n) => store.changeStatus(id, to(n % 2 ? 'processing' : 'cancelled'))),
    );
    const { status, version } = await store.find(id);
    const made = results.filter((result) => result.status === 'fulfilled').length;
    assert.equal(version, 1 + made);
    // Processing may come before the one cancellation; nothing comes after it.
    assert.ok(made === 1 || (made === 2 && status === 'cancelled'), `${made} changes made, now ${status}`);
  });

  it('does not find an order that was never placed', async () => {
    await assert.rejects(store.find(2_147_483_647), isFailure('order-not-found'));
    await assert.rejects(store.changeStatus(2_147_483_647, to('processing')), isFailure('order-not-found'));
  });

  it('lists by user and status, page by page', async () => {
    const userId = 4711;
    const placed: number[] = [];
    for (let count = 0; count < 5; count += 1) placed.push((await place({ user_id: userId })).id);
    await place({ user_id: userId + 1 });
    const [first, second] = placed;
    await store.changeStatus(first ?? 0, to('cancelled'));

    const ids = async (selection: Parameters<OrderStore['list']>[0]) =>
      (await store.list(selection)).map(({ id }) => id);
    assert.deepEqual(await ids({ userId, limit: 2 }), placed.slice(0, 2));
    assert.deepEqual(await ids({ userId, limit: 10, after: second }), placed.slice(2));
    assert.deepEqual(await ids({ userId, status: 'cancelled', limit: 10 }), [first]);
    assert.deepEqual(await ids({ userId, status: 'pending', limit: 10 }), placed.slice(1));
    assert.deepEqual(await ids({ userId: 4713, limit: 10 }), []);
  });

  it('tells of each version of an order in one event: placed, moved on, cancelled', async () => {
    const { id } = await place({ total: 12.5 });
    await store.changeStatus(id, to('processing'));
    await assert.rejects(store.changeStatus(id, to('completed')));
    await store.changeStatus(id, to('cancelled'));
    const told = (await eventsIn(database)).filter(({ subject }) => subject === `orders/${id}`);
    assert.deepEqual(
      told.map(({ type, source, sequence }) => [type, source, sequence]),
      [
        ['zerda.order.created.v1', '/order-service', '0000000001'],
        ['zerda.order.status_changed.v1', '/order-service', '0000000002'],
        ['zerda.order.cancelled.v1', '/order-service', '0000000003'],
      ],
    );
    const [created, moved, cancelled] = told.map(({ data }) => data);
    assert.equal(orderEvents.orderCreated.data.parse(created).total, 12.5);
    const { from, to: reached } = orderEvents.orderStatusChanged.data.parse(moved);
    assert.deepEqual([from, reached], ['pending', 'processing']);
    const { reason } = orderEvents.orderCancelled.data.parse(cancelled);
    assert.equal(reason, 'requested');
  });

  it('counts as a recount does after any history of 32 writers at the same time, and no deadlock reaches one', async () => {
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
              const moving = store.changeStatus(ids[step.at % ids.length] ?? 0, to(step.status));
              await moving.catch((error: unknown) =>
                assert.ok(isFailure('invalid-transition')(error), String(error)),
              );
            }
          }
        };
        await Promise.all(Array.from({ length: 32 }, write));
        assert.deepEqual(await store.countByStatus(), await recount());
        for (const userId of [1, 2, 3]) assert.equal(await store.countOf(userId), await recountOf(userId));
      }),
      { numRuns: 12 },
    );
  });

  it('sums more than 32 bits of cents', async () => {
    const { pending } = await store.countByStatus();
    for (let count = 0; count < 5; count += 1) await place({ total: 9_999_999.99 });
    const grown = (await store.countByStatus()).pending;
    assert.equal(grown.totalCents - pending.totalCents, 5 * toCents(9_999_999.99));
  });
});
