import type { Queries } from '@zerda/chassis/database/database';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { eq, sql } from 'drizzle-orm';
import type { Order } from '../domain/order.ts';
import { orderCounters, userOrderCounters } from './tables.ts';

/** Number of rows that share the count of each status, so that concurrent writers rarely wait for a lock. */
const slots = 16;

/** Number of orders with one status, and the sum of their totals. */
export interface StatusCount {
  readonly orders: number;
  readonly totalCents: number;
}

/** Adds a new order to the counters; runs in the transaction that stores it. */
export async function countPlaced(tx: Queries, order: Order): Promise<void> {
  await applyChanges(tx, [{ order, status: order.status, sign: 1 }]);
  await tx
    .insert(userOrderCounters)
    .values({ userId: order.userId, orders: 1 })
    .onConflictDoUpdate({
      target: userOrderCounters.userId,
      set: { orders: sql`${userOrderCounters.orders} + 1` },
    });
}

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

/** Applies all changes in one statement that locks the rows in key order, which prevents deadlocks. */
async function applyChanges(tx: Queries, changes: readonly CounterChange[]): Promise<void> {
  if (changes.length === 0) return;
  const sums = new Map<string, typeof orderCounters.$inferInsert>();
  for (const { order, status, sign } of changes) {
    const slot = order.id % slots;
    const key = `${String(slot).padStart(2, '0')} ${status}`;
    const { orders, totalCents } = sums.get(key) ?? { orders: 0, totalCents: 0 };
    const added = { orders: orders + sign, totalCents: totalCents + sign * order.totalCents };
    sums.set(key, { slot, status, ...added });
  }
  const rows = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  await tx
    .insert(orderCounters)
    .values(rows)
    .onConflictDoUpdate({
      target: [orderCounters.slot, orderCounters.status],
      set: {
        orders: sql`${orderCounters.orders} + excluded.orders`,
        totalCents: sql`${orderCounters.totalCents} + excluded.total_cents`,
      },
    });
}

/** Returns the counters of each status. The cost does not depend on the number of orders. */
export async function readStatusCounts(db: Queries): Promise<Record<OrderStatus, StatusCount>> {
  const rows = await db
    .select({
      status: orderCounters.status,
      orders: sql<number>`sum(${orderCounters.orders})::int8`,
      totalCents: sql<number>`sum(${orderCounters.totalCents})::int8`,
    })
    .from(orderCounters)
    .groupBy(orderCounters.status);
  const countByStatus = new Map(rows.map(({ status, ...count }) => [status, count]));
  return Object.fromEntries(
    orderStatuses.map((status) => [status, countByStatus.get(status) ?? { orders: 0, totalCents: 0 }]),
  ) as Record<OrderStatus, StatusCount>;
}

/** Returns the number of a user's orders in any status. The cost does not depend on the number of orders. */
export async function readOrderCountOf(db: Queries, userId: number): Promise<number> {
  const [row] = await db
    .select({ orders: userOrderCounters.orders })
    .from(userOrderCounters)
    .where(eq(userOrderCounters.userId, userId));
  return row?.orders ?? 0;
}
