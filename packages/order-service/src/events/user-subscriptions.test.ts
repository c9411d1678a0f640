import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { concurrentRuns, describeOnEachEngine } from '@zerda/chassis/testing/database';
import { createGate, isFailure, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { orderEvents } from '@zerda/contracts/order-service/events';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { eventMetrics } from '@zerda/events/event-metrics';
import { createReceiver } from '@zerda/events/receiver';
import type { EventReceiver } from '@zerda/events/transport';
import { and, asc, eq, inArray } from 'drizzle-orm';
import fc from 'fast-check';
import { migrations } from '../../testing/app.ts';
import { eventsIn, userEventTexts } from '../../testing/events.ts';
import { countRowsByStatus, placeOf } from '../../testing/orders.ts';
import type { Order } from '../domain/order.ts';
import { moveStatus } from '../domain/order-status.ts';
import { createPlaceOrder } from '../domain/place-order.ts';
import { addKnownUsers, readUserState } from '../store/known-users.ts';
import { readStatusCounts } from '../store/order-counters.ts';
import { createOrderStore, insertOrder, type OrderStore } from '../store/order-store.ts';
import { orders } from '../store/tables.ts';
import { userSubscriptions } from './user-subscriptions.ts';

const isUnknownUser = isFailure('unknown-user');

describeOnEachEngine('user events in order-service', { migrations }, (openDatabase) => {
  let database: Database;
  let store: OrderStore;
  let receiver: EventReceiver;
  let lastId = 100;

  before(async () => {
    database = await openDatabase();
    store = createOrderStore(database);
    receiver = createReceiver({
      database,
      subscriptions: userSubscriptions,
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
    });
  });

  function newId(): number {
    lastId += 1;
    return lastId;
  }

  async function receive(text: string): Promise<string> {
    return (await receiver.receive(text)).outcome;
  }

  async function place(userId: number): Promise<Order> {
    return placeOf(store, { user_id: userId });
  }

  function stateOf(userId: number) {
    return database.query((db) => readUserState(db, userId));
  }

  async function ordersOf(userId: number): Promise<Order[]> {
    return database.query((db) =>
      db.select().from(orders).where(eq(orders.userId, userId)).orderBy(asc(orders.id)),
    );
  }

  async function openOrders(userId: number): Promise<number> {
    const openStatuses: OrderStatus[] = ['pending', 'processing'];
    return database.query((db) =>
      db.$count(orders, and(eq(orders.userId, userId), inArray(orders.status, openStatuses))),
    );
  }

  it('adds a user on the first event of any type', async () => {
    const [created, updated] = [newId(), newId()];
    assert.equal(await stateOf(created), undefined);
    await receive(userEventTexts.created(created));
    await receive(userEventTexts.updated(updated, 5));
    assert.deepEqual([await stateOf(created), await stateOf(updated)], ['known', 'known']);
  });

  it('does not restore a deleted user on late events', async () => {
    const id = newId();
    assert.equal(await receive(userEventTexts.deleted(id, 3)), 'applied');
    assert.equal(await receive(userEventTexts.created(id, 1)), 'stale');
    assert.equal(await receive(userEventTexts.updated(id, 2)), 'stale');
    assert.equal(await stateOf(id), 'deleted');
    await assert.rejects(place(id), isUnknownUser);
    assert.equal(await openOrders(id), 0);
  });

  it('cancels pending and processing orders of a deleted user with one event each', async () => {
    const id = newId();
    for (const status of orderStatuses) {
      await database.transaction((tx) =>
        insertOrder(tx, { user_id: id, product: status, quantity: 1, total: 10 }, status),
      );
    }
    const { length } = await eventsIn(database);
    await receive(userEventTexts.deleted(id));
    assert.deepEqual(
      (await ordersOf(id)).map(({ product, status, version }) => [product, status, version]),
      [
        ['pending', 'cancelled', 2],
        ['processing', 'cancelled', 2],
        ['shipped', 'shipped', 1],
        ['completed', 'completed', 1],
        ['cancelled', 'cancelled', 1],
      ],
    );
    const events = (await eventsIn(database)).slice(length);
    assert.deepEqual(
      events.map(({ type, sequence, data }) => {
        const { user_id, from, reason } = orderEvents.orderCancelled.data.parse(data);
        return [type, sequence, user_id, from, reason];
      }),
      [
        ['zerda.order.cancelled.v1', '0000000002', id, 'pending', 'user_deleted'],
        ['zerda.order.cancelled.v1', '0000000002', id, 'processing', 'user_deleted'],
      ],
    );
  });

  it('cancels more orders than one batch, each with exactly one event', async () => {
    const id = newId();
    const orderCount = 250;
    await database.transaction(async (tx) => {
      for (let count = 0; count < orderCount; count += 1) {
        const status = count % 3 === 0 ? 'processing' : 'pending';
        await insertOrder(tx, { user_id: id, product: 'x', quantity: 1, total: 1 }, status);
      }
    });
    const text = userEventTexts.deleted(id);
    const { length } = await eventsIn(database);
    assert.equal(await receive(text), 'applied');
    assert.equal(await receive(text), 'duplicate');
    assert.equal(await openOrders(id), 0);
    const subjects = (await eventsIn(database)).slice(length).map(({ subject }) => subject);
    assert.deepEqual([subjects.length, new Set(subjects).size], [orderCount, orderCount]);
    assert.deepEqual(await database.query(readStatusCounts), await countRowsByStatus(database));
  });

  it('waits for an order in flight and cancels it', async () => {
    const id = newId();
    const stored = createGate();
    await database.query((db) => addKnownUsers(db, [id]));
    const receiving = stored.pass().then(() => receive(userEventTexts.deleted(id)));
    await store.place({ user_id: id, product: 'x', quantity: 1, total: 1 }, async (_tx, write) => {
      const order = await write();
      stored.open();
      return order;
    });
    assert.equal(await receiving, 'applied');
    assert.deepEqual(
      (await ordersOf(id)).map(({ status }) => status),
      ['cancelled'],
    );
  });

  it('leaves no open order of a deleted user, for any interleaving of operations', async () => {
    const step = fc.record({
      kind: fc.constantFrom('place', 'place', 'move', 'cancel', 'created', 'deleted', 'deleted again'),
      user: fc.integer({ min: 0, max: 2 }),
      at: fc.nat({ max: 99 }),
      delayMs: fc.integer({ min: 0, max: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 24, maxLength: 60 }), async (steps) => {
        const users = [newId(), newId(), newId()];
        const placed: number[] = [];
        const texts = users.map((id) => userEventTexts.deleted(id));
        // User-service reports that every user exists, because its response can be outdated when the order is stored.
        const placeOrder = createPlaceOrder({ orders: store, users: { exists: async () => true } });
        const act = async ({ kind, user, at, delayMs }: (typeof steps)[number]): Promise<void> => {
          const [id = 0, text = ''] = [users[user], texts[user]];
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          if (kind === 'place') {
            const order = { user_id: id, product: 'x', quantity: 1, total: 1 };
            placed.push((await placeOrder(order)).id);
          } else if (kind === 'created') await receive(userEventTexts.created(id));
          else if (kind.startsWith('deleted')) await receive(text);
          else {
            const target = placed[at % Math.max(1, placed.length)];
            const to = kind === 'cancel' ? 'cancelled' : at % 2 === 0 ? 'processing' : 'shipped';
            if (target !== undefined) await store.changeStatus(target, (from) => moveStatus(from, to));
          }
        };
        const results = await Promise.allSettled(steps.map(act));
        for (const result of results) {
          if (result.status === 'rejected')
            assert.ok(result.reason instanceof Failure, String(result.reason));
        }
        await Promise.all(texts.map(receive));
        for (const id of users) assert.equal(await openOrders(id), 0);
        assert.deepEqual(await database.query(readStatusCounts), await countRowsByStatus(database));
      }),
      { numRuns: concurrentRuns(database, 15) },
    );
    await assertOneEventPerVersion();
  });

  /** Asserts that each version of an order has exactly one event, in order. */
  async function assertOneEventPerVersion(): Promise<void> {
    const versions = new Map<string, number[]>();
    for (const { subject, sequence } of await eventsIn(database)) {
      versions.set(subject, [...(versions.get(subject) ?? []), Number(sequence)]);
    }
    const rows = await database.query((db) => db.select().from(orders));
    for (const { id, version } of rows) {
      assert.deepEqual(
        versions.get(`orders/${id}`),
        Array.from({ length: version }, (_, n) => n + 1),
      );
    }
  }
});
