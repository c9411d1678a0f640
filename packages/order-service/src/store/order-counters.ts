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
  await count(tx, [{ order, status: order.status, sign: 1 }]);
  await tx
    .insert(userOrderCounters)
    .values({ userId: order.userId, orders: 1 })
    .onConflictDoUpdate({
      target: userOrderCounters.userId,
      set: { orders: sql`${userOrderCounters.orders} + 1` },
    });
}

/** An order that has another status now. */
export interface Move {
  readonly order: StoredOrder;
  /** The status it had. */
  readonly from: OrderStatus;
}

/** Counts orders from the statuses they had to those they have, in the transaction that changes them. */
export async function countMoved(tx: Queries, moves: readonly Move[]): Promise<void> {
  await count(
    tx,
    moves.flatMap(({ order, from }) => [
      { order, status: from, sign: -1 },
      { order, status: order.status, sign: 1 },
    ]),
  );
}

/** An order counted in (1) or out (-1) of a status. */
interface Change {
  readonly order: StoredOrder;
  readonly status: OrderStatus;
  readonly sign: 1 | -1;
}

/** Makes all changes in one statement that locks rows in the order of their key: writers never wait in a circle. */
async function count(tx: Queries, changes: readonly Change[]): Promise<void> {
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
