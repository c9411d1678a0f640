import type { Handlers } from '@zerda/chassis/http/api-router';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import {
  type Order,
  type OrderStats,
  type OrderStatus,
  type orderOperations,
  orderStatuses,
} from '@zerda/contracts/orders';
import { toAmount } from '../domain/money.ts';
import { moveStatus } from '../domain/order-status.ts';
import type { PlaceOrder } from '../domain/place-order.ts';
import type { StatusCount } from '../store/order-counters.ts';
import type { OrderStore } from '../store/order-store.ts';
import type { StoredOrder } from '../store/tables.ts';

export interface OrderHandlersDependencies {
  readonly orders: OrderStore;
  readonly placeOrder: PlaceOrder;
}

/** What answers each operation of the order service's contract. */
export function createOrderHandlers({
  orders,
  placeOrder,
}: OrderHandlersDependencies): Handlers<typeof orderOperations> {
  return {
    async orderHealth() {
      const { orders: orders_count } = showStats(await orders.countByStatus());
      return { body: success({ service: 'order-service', status: 'healthy', orders_count }) };
    },
    async orderStats() {
      return { body: success(showStats(await orders.countByStatus())) };
    },
    async listOrders({ query: { cursor, limit, user_id, status } }) {
      const read = await orders.list({ after: cursor, limit: limit + 1, userId: user_id, status });
      const { rows, next } = cutPage(read, limit);
      return { body: { ...success(rows.map(show)), page: { next } } };
    },
    async listOrdersOfUser({ params: { user_id: userId }, query: { cursor, limit, status } }) {
      const [read, total] = await Promise.all([
        orders.list({ after: cursor, limit: limit + 1, userId, status }),
        orders.countOf(userId),
      ]);
      const { rows, next } = cutPage(read, limit);
      return { body: { ...success(rows.map(show)), page: { next, total } } };
    },
    async getOrder({ params: { id } }) {
      return one(await orders.find(id));
    },
    placeOrder({ body: order, keyed }) {
      return placeOrder({
        order,
        keyed,
        answer: (placed) => ({ ...one(placed), location: `/api/orders/${placed.id}` }),
      });
    },
    async updateOrderStatus({ params: { id }, body: { status }, ifMatch }) {
      return one(await orders.changeStatus(id, (from) => moveStatus(from, status), ifMatch));
    },
    async cancelOrder({ params: { id }, ifMatch }) {
      return one(await orders.changeStatus(id, (from) => moveStatus(from, 'cancelled'), ifMatch));
    },
  };
}

function one(order: StoredOrder) {
  return { body: success(show(order)), version: order.version };
}

function show({
  id,
  userId,
  product,
  quantity,
  totalCents,
  status,
  createdAt,
  updatedAt,
}: StoredOrder): Order {
  return {
    id,
    user_id: userId,
    product,
    quantity,
    total: toAmount(totalCents),
    status,
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
  };
}

function showStats(counts: Record<OrderStatus, StatusCount>): OrderStats {
  const by_status = Object.fromEntries(
    orderStatuses.map((status) => {
      const { orders: count, totalCents } = counts[status];
      return [status, { count, total: toAmount(totalCents) }];
    }),
  ) as OrderStats['by_status'];
  return { orders: orderStatuses.reduce((sum, status) => sum + counts[status].orders, 0), by_status };
}
