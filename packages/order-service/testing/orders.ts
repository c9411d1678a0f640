import type { Database } from '@zerda/chassis/database/database';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { sql } from 'drizzle-orm';
import type { StatusCount } from '../src/store/order-counters.ts';
import { orders } from '../src/store/tables.ts';

/** Counts the rows of the orders by status, to compare them with the counters. */
export async function countRowsByStatus(database: Database): Promise<Record<OrderStatus, StatusCount>> {
  const rows = await database.query((db) =>
    db
      .select({
        status: orders.status,
        orders: sql<number>`count(*)`,
        totalCents: sql<number>`sum(${orders.totalCents})::int8`,
      })
      .from(orders)
      .groupBy(orders.status),
  );
  const countByStatus = new Map(rows.map(({ status, ...count }) => [status, count]));
  return Object.fromEntries(
    orderStatuses.map((status) => [status, countByStatus.get(status) ?? { orders: 0, totalCents: 0 }]),
  ) as Record<OrderStatus, StatusCount>;
}
