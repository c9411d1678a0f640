import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { createReceiver } from '@zerda/chassis/events/receiver';
import type { EventReceiver } from '@zerda/chassis/events/transport';
import { Failure } from '@zerda/chassis/failure';
import { isFailure, silentLogger, testMetrics } from '@zerda/chassis/testing';
import { orderEvents } from '@zerda/contracts/events/orders';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/orders';
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import fc from 'fast-check';
import { moveStatus } from '../domain/order-status.ts';
import { createPlaceOrder } from '../domain/place-order.ts';
import { readStatusCounts } from '../store/order-counters.ts';
import { createOrderStore, insertOrder, type OrderStore } from '../store/order-store.ts';
import { orders, type StoredOrder } from '../store/tables.ts';
import { migrations } from '../testing.ts';
import { eventsIn, userEventTexts } from '../testing-events.ts';
import { userSubscriptions } from './user-subscriptions.ts';

const isUnknownUser = isFailure('unknown-user');

describeOnEachEngine('what order-service does when it hears of users', { migrations }, (open) => {
  let database: Database;
  let store: OrderStore;
  let receiver: EventReceiver;
  let lastId = 100;

  before(async () => {
    database = await open();
    store = createOrderStore(database);
    receiver = createReceiver({
      ...{ database, subscriptions: userSubscriptions, logger: silentLogger() },
      metrics: testMetrics().events,
    });
  });

  function newId(): number {
    lastId += 1;
    return lastId;
  }

  async function hear(text: string): Promise<string> {
    return (await receiver.receive(text)).outcome;
  }

  async function place(userId: number): Promise<StoredOrder> {
    const order = { user_id: userId, product: 'Desk', quantity: 1, total: 10 };
    return (await store.place(order, undefined, (stored) => ({ body: stored }))).body;
  }

  async function ordersOf(userId: number): Promise<StoredOrder[]> {
    return database.read((db) =>
      db.select().from(orders).where(eq(orders.userId, userId)).orderBy(asc(orders.id)),
    );
  }

  async function openOrders(userId: number): Promise<number> {
    const open: OrderStatus[] = ['pending', 'processing'];
    return database.read((db) =>
      db.$count(orders, and(eq(orders.userId, userId), inArray(orders.status, open))),
    );
  }

  it('knows a user from the first event of them, whichever it is', async () => {
    const [created, updated] = [newId(), newId()];
    assert.equal(await store.findUser(created), undefined);
    await hear(userEventTexts.created(created));
    await hear(userEventTexts.updated(updated, 5));
    assert.deepEqual([await store.findUser(created), await store.findUser(updated)], ['known', 'known']);
  });

  it('resurrects nobody, whatever comes late', async () => {
    const id = newId();
    assert.equal(await hear(userEventTexts.deleted(id, 3)), 'applied');
    assert.equal(await hear(userEventTexts.created(id, 1)), 'stale');
    assert.equal(await hear(userEventTexts.updated(id, 2)), 'stale');
    assert.equal(await store.findUser(id), 'deleted');
    await assert.rejects(place(id), isUnknownUser);
    assert.equal(await openOrders(id), 0);
  });

  it('cancels the open orders of a deleted user, tells of each, and leaves those on their way', async () => {
    const id = newId();
    for (const status of orderStatuses) {
      await database.write((tx) =>
        insertOrder(tx, { user_id: id, product: status, quantity: 1, total: 10 }, status),
      );
    }
    const { length } = await eventsIn(database);
    await hear(userEventTexts.deleted(id));
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
    const told = (await eventsIn(database)).slice(length);
    assert.deepEqual(
      told.map(({ type, sequence, data }) => {
        const { user_id, from, reason } = orderEvents.orderCancelled.data.parse(data);
        return [type, sequence, user_id, from, reason];
      }),
      [
        ['zerda.order.cancelled.v1', '0000000002', id, 'pending', 'user_deleted'],
        ['zerda.order.cancelled.v1', '0000000002', id, 'processing', 'user_deleted'],
      ],
    );
  });

  it('cancels more orders than one transaction does, each once and told of once', async () => {
    const id = newId();
    const many = 250;
    await database.write(async (tx) => {
      for (let count = 0; count < many; count += 1) {
        const status = count % 3 === 0 ? 'processing' : 'pending';
        await insertOrder(tx, { user_id: id, product: 'x', quantity: 1, total: 1 }, status);
      }
    });
    const text = userEventTexts.deleted(id);
    const { length } = await eventsIn(database);
    assert.equal(await hear(text), 'applied');
    assert.equal(await hear(text), 'duplicate');
    assert.equal(await openOrders(id), 0);
    const subjects = (await eventsIn(database)).slice(length).map(({ subject }) => subject);
    assert.deepEqual([subjects.length, new Set(subjects).size], [many, many]);
    assert.deepEqual(await database.read(readStatusCounts), await recount());
  });

  it('waits for an order that is being placed, and cancels it', async () => {
    const id = newId();
    let stored = (): void => undefined;
    const hearing = new Promise<void>((resolve) => {
      stored = resolve;
    }).then(() => hear(userEventTexts.deleted(id)));
    await store.place({ user_id: id, product: 'x', quantity: 1, total: 1 }, undefined, (order) => {
      stored();
      return { body: order };
    });
    assert.equal(await hearing, 'applied');
    assert.deepEqual(
      (await ordersOf(id)).map(({ status }) => status),
      ['cancelled'],
    );
  });

  async function recount() {
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
    const found = new Map(rows.map(({ status, ...numbers }) => [status, numbers]));
    return Object.fromEntries(
      orderStatuses.map((status) => [status, found.get(status) ?? { orders: 0, totalCents: 0 }]),
    );
  }

  it('leaves no open order of a deleted user, in whatever order things happen', async () => {
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
        // user-service says that everybody is there: what it says can be old by the time the order is stored.
        const placeOrder = createPlaceOrder({ orders: store, users: { exists: async () => true } });
        const act = async ({ kind, user, at, delayMs }: (typeof steps)[number]): Promise<void> => {
          const [id = 0, text = ''] = [users[user], texts[user]];
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          if (kind === 'place') {
            const order = { user_id: id, product: 'x', quantity: 1, total: 1 };
            const answer = (stored: StoredOrder) => ({ body: stored });
            const { body } = await placeOrder({ order, keyed: undefined, answer });
            placed.push(body.id);
          } else if (kind === 'created') await hear(userEventTexts.created(id));
          else if (kind.startsWith('deleted')) await hear(text);
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
        await Promise.all(texts.map(hear));
        for (const id of users) assert.equal(await openOrders(id), 0);
        assert.deepEqual(await database.read(readStatusCounts), await recount());
      }),
      { numRuns: 15 },
    );
    await assertOneEventAVersion();
  });

  /** Each change of an order made exactly one event, in the order of its versions. */
  async function assertOneEventAVersion(): Promise<void> {
    const told = new Map<string, number[]>();
    for (const { subject, sequence } of await eventsIn(database)) {
      told.set(subject, [...(told.get(subject) ?? []), Number(sequence)]);
    }
    const rows = await database.read((db) => db.select().from(orders));
    for (const { id, version } of rows) {
      assert.deepEqual(
        told.get(`orders/${id}`),
        Array.from({ length: version }, (_, n) => n + 1),
      );
    }
  }
});
