import type { Database } from '@zerda/chassis/database/database';
import type { Once } from '@zerda/chassis/idempotency/idempotency';
import { type NewOrder, type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import { sql } from 'drizzle-orm';
import type { Order } from '../src/domain/order.ts';
import { createPlaceOrder } from '../src/domain/place-order.ts';
import type { StatusCount } from '../src/store/order-counters.ts';
import type { OrderStore } from '../src/store/order-store.ts';
import { orders } from '../src/store/tables.ts';

/** Places an order of a user who exists. */
export function placeOf(
  store: OrderStore,
  order: Partial<NewOrder> & Pick<NewOrder, 'user_id'>,
  once?: Once<Order>,
): Promise<Order> {
  const placeOrder = createPlaceOrder({ orders: store, users: { exists: async () => true } });
  return placeOrder({ product: 'Desk', quantity: 1, total: 10, ...order }, once);
}

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
