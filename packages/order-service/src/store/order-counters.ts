import type { Queries } from '@zerda/chassis/database/database';
import { deferStatement } from '@zerda/chassis/database/deferred-statements';
import { prepareQuery, prepareStatement } from '@zerda/chassis/database/prepared-query';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { eq, sql } from 'drizzle-orm';
import type { Order } from '../domain/order.ts';
import { orderCounters, userOrderCounters } from './tables.ts';

/**
 * Number of rows that share the count of each status, so that concurrent writers rarely wait for a lock. The row of an order is its id modulo
 * this number.
 */
const slots = 16;

/** Number of orders with one status, and the sum of their totals. */
export interface StatusCount {
  readonly orders: number;
  readonly totalCents: number;
}

/**
 * Common table expressions that add the order of the expression `placed` to the counters. The second one reads the first, so that all
 * transactions lock the two rows in this order.
 */
export const countPlaced = sql.raw(`
  counted as (
    insert into order_counters as counter (slot, status, orders, total_cents)
    select id % ${slots}, status, 1, total_cents from placed
    on conflict (slot, status) do update
      set orders = counter.orders + 1, total_cents = counter.total_cents + excluded.total_cents
    returning slot
  ), counted_for_user as (
    insert into user_order_counters as counter (user_id, orders) select user_id, 1 from placed, counted
    on conflict (user_id) do update set orders = counter.orders + 1
  )`);

/** An order whose status has changed. */
export interface StatusChange {
  readonly order: Order;
  /** Previous status. */
  readonly from: OrderStatus;
}

/** Moves orders from the counters of their previous status to those of the current one; runs in the transaction of the change. */
export async function countStatusChanges(tx: Queries, statusChanges: readonly StatusChange[]): Promise<void> {
  await applyChanges(
    tx,
    statusChanges.flatMap(({ order, from }) => [
      { order, status: from, sign: -1 },
      { order, status: order.status, sign: 1 },
    ]),
  );
}

/** Adds an order to the counter of a status (1) or removes it (-1). */
interface CounterChange {
  readonly order: Order;
  readonly status: OrderStatus;
  readonly sign: 1 | -1;
}

/** A row to add to the counters. */
interface CounterRow {
  readonly slot: number;
  readonly status: OrderStatus;
  readonly orders: number;
  readonly total_cents: number;
}

/** Adds rows, which are a JSON array, in their order. */
const addToCounters = prepareStatement(sql`
  insert into order_counters as counter (slot, status, orders, total_cents)
  select slot, status, orders, total_cents from json_to_recordset(${sql.placeholder('rows')}::json)
    as row (slot smallint, status text, orders integer, total_cents bigint)
  on conflict (slot, status) do update
    set orders = counter.orders + excluded.orders, total_cents = counter.total_cents + excluded.total_cents`);

/** Applies all changes in one statement that locks the rows in key order, which prevents deadlocks. */
async function applyChanges(tx: Queries, changes: readonly CounterChange[]): Promise<void> {
  if (changes.length === 0) return;
  const sums = new Map<string, CounterRow>();
  for (const { order, status, sign } of changes) {
    const slot = order.id % slots;
    const key = `${String(slot).padStart(2, '0')} ${status}`;
    const { orders, total_cents } = sums.get(key) ?? { orders: 0, total_cents: 0 };
    const added = { orders: orders + sign, total_cents: total_cents + sign * order.totalCents };
    sums.set(key, { slot, status, ...added });
  }
  const rows = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  await deferStatement(tx, addToCounters(tx, { rows: JSON.stringify(rows) }));
}

const selectStatusCounts = prepareQuery((db) =>
  db
    .select({
      status: orderCounters.status,
      orders: sql<number>`sum(${orderCounters.orders})::int8`,
      totalCents: sql<number>`sum(${orderCounters.totalCents})::int8`,
    })
    .from(orderCounters)
    .groupBy(orderCounters.status),
);

/** Returns the counters of each status. The cost does not depend on the number of orders. */
export async function readStatusCounts(db: Queries): Promise<Record<OrderStatus, StatusCount>> {
  const rows = await selectStatusCounts(db);
  const countByStatus = new Map(rows.map(({ status, ...count }) => [status, count]));
  return Object.fromEntries(
    orderStatuses.map((status) => [status, countByStatus.get(status) ?? { orders: 0, totalCents: 0 }]),
  ) as Record<OrderStatus, StatusCount>;
}

const selectOrderCountOf = prepareQuery((db) =>
  db
    .select({ orders: userOrderCounters.orders })
    .from(userOrderCounters)
    .where(eq(userOrderCounters.userId, sql.placeholder('userId'))),
);

/** Returns the number of a user's orders in any status. The cost does not depend on the number of orders. */
export async function readOrderCountOf(db: Queries, userId: number): Promise<number> {
  const [row] = await selectOrderCountOf(db, { userId });
  return row?.orders ?? 0;
}
