import { forbidden } from '@zerda/chassis/auth/bearer';
import { type Caller, mayActFor } from '@zerda/chassis/auth/caller';
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

/** What answers each operation of the order service's contract, to those who may ask. */
export function createOrderHandlers({
  orders,
  placeOrder,
}: OrderHandlersDependencies): Handlers<typeof orderOperations> {
  return {
    async orderHealth({ caller }) {
      // Counted for every caller, because it shows that the database responds.
      const { orders: orders_count } = showStats(await orders.countByStatus());
      const counts = caller?.role === 'admin' ? { orders_count } : {};
      return { body: success({ service: 'order-service', status: 'healthy', ...counts }) };
    },
    async orderStats() {
      return { body: success(showStats(await orders.countByStatus())) };
    },
    async listOrders({ caller, query: { cursor, limit, user_id, status } }) {
      const selection = { after: cursor, limit: limit + 1, userId: user_id, status, only: onlyOf(caller) };
      const read = await orders.list(selection);
      const { rows, next } = cutPage(read, limit);
      return { body: { ...success(rows.map(show)), page: { next } } };
    },
    async listOrdersOfUser({ caller, params: { user_id: userId }, query: { cursor, limit, status } }) {
      requireOwn(caller, userId);
      const [read, total] = await Promise.all([
        orders.list({ after: cursor, limit: limit + 1, userId, status }),
        orders.countOf(userId),
      ]);
      const { rows, next } = cutPage(read, limit);
      return { body: { ...success(rows.map(show)), page: { next, total } } };
    },
    async getOrder({ caller, params: { id } }) {
      return one(await orders.find(id, onlyOf(caller)));
    },
    async placeOrder({ caller, body: order, keyed }) {
      requireOwn(caller, order.user_id);
      return placeOrder({
        order,
        keyed,
        answer: (placed) => ({ ...one(placed), location: `/api/orders/${placed.id}` }),
      });
    },
    async updateOrderStatus({ caller, params: { id }, body: { status }, precondition }) {
      const only = onlyOf(caller);
      if (only !== undefined && status !== 'cancelled') {
        // Of an order that is another's, not even this is told.
        await orders.find(id, only);
        throw forbidden('Users may cancel their orders; admins move them on.');
      }
      return one(await orders.changeStatus(id, (from) => moveStatus(from, status), precondition, only));
    },
    async cancelOrder({ caller, params: { id }, precondition }) {
      const cancel = (from: OrderStatus) => moveStatus(from, 'cancelled');
      return one(await orders.changeStatus(id, cancel, precondition, onlyOf(caller)));
    },
  };
}

/** Whose orders the caller may see; everybody's when undefined. An identity that is no user has none, and nobody has the id 0. */
function onlyOf({ role, userId }: Caller): number | undefined {
  return role === 'admin' ? undefined : (userId ?? 0);
}

/** Decided by the id alone, before anybody looks whether it exists. */
function requireOwn(caller: Caller, userId: number): void {
  if (!mayActFor(caller, userId)) throw forbidden('This concerns another user.');
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
