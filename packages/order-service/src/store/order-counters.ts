import type { Queries } from '@zerda/chassis/database/database';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/orders';
import { eq, sql } from 'drizzle-orm';
import { orderCounters, type StoredOrder, userOrderCounters } from './tables.ts';

/** Rows that share the count of each status, so that writers at the same time seldom wait for one another. */
const slots = 16;

/** Orders in one status. */
export interface StatusCount {
  readonly orders: number;
  readonly totalCents: number;
}

/** Counts a new order, in the transaction that stores it. */
export async function countPlaced(tx: Queries, order: StoredOrder): Promise<void> {
  await count(tx, order, { [order.status]: 1 });
  await tx
    .insert(userOrderCounters)
    .values({ userId: order.userId, orders: 1 })
    .onConflictDoUpdate({
      target: userOrderCounters.userId,
      set: { orders: sql`${userOrderCounters.orders} + 1` },
    });
}

/** Counts an order from one status to another, in the transaction that changes it. */
export async function countMoved(tx: Queries, order: StoredOrder, from: OrderStatus): Promise<void> {
  await count(tx, order, { [from]: -1, [order.status]: 1 });
}

/** Locks rows in the order of their key, so that writers never wait for one another in a circle. */
async function count(
  tx: Queries,
  { id, totalCents }: StoredOrder,
  changes: Partial<Record<OrderStatus, 1 | -1>>,
): Promise<void> {
  const rows = Object.entries(changes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([status, orders]) => ({
      slot: id % slots,
      status: status as OrderStatus,
      orders,
      totalCents: orders * totalCents,
    }));
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

/** Orders in each status, without reading them. */
export async function readStatusCounts(db: Queries): Promise<Record<OrderStatus, StatusCount>> {
  const rows = await db
    .select({
      status: orderCounters.status,
      orders: sql<number>`sum(${orderCounters.orders})::int8`,
      totalCents: sql<number>`sum(${orderCounters.totalCents})::int8`,
    })
    .from(orderCounters)
    .groupBy(orderCounters.status);
  const counted = new Map(rows.map(({ status, ...numbers }) => [status, numbers]));
  return Object.fromEntries(
    orderStatuses.map((status) => [status, counted.get(status) ?? { orders: 0, totalCents: 0 }]),
  ) as Record<OrderStatus, StatusCount>;
}

/** The number of a user's orders, whatever their status, without reading them. */
export async function readOrderCountOf(db: Queries, userId: number): Promise<number> {
  const [row] = await db
    .select({ orders: userOrderCounters.orders })
    .from(userOrderCounters)
    .where(eq(userOrderCounters.userId, userId));
  return row?.orders ?? 0;
}
