import { addAuditDetails } from '@zerda/chassis/audit/audit-log';
import { forbidden } from '@zerda/chassis/auth/bearer';
import { ownerFilter, requireAccessTo } from '@zerda/chassis/auth/ownership';
import type { Handlers } from '@zerda/chassis/http/api-router';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import {
  type Order as OrderBody,
  type OrderStats,
  type OrderStatus,
  type orderOperations,
  orderStatuses,
} from '@zerda/contracts/order-service/orders';
import { toAmount } from '../domain/money.ts';
import type { Order } from '../domain/order.ts';
import { moveStatus } from '../domain/order-status.ts';
import type { PlaceOrder } from '../domain/place-order.ts';
import type { StatusCount } from '../store/order-counters.ts';
import type { OrderStore } from '../store/order-store.ts';

export interface OrderHandlersDependencies {
  readonly orders: OrderStore;
  readonly placeOrder: PlaceOrder;
  readonly idempotency: Idempotency;
}

/** Creates the handlers of all operations of order-service, including their authorization. */
export function createOrderHandlers({
  orders,
  placeOrder,
  idempotency,
}: OrderHandlersDependencies): Handlers<typeof orderOperations> {
  return {
    async orderHealth({ caller }) {
      // Queried for every caller, to verify that the database responds.
      const { orders: orders_count } = formatStats(await orders.countByStatus());
      const counts = caller?.role === 'admin' ? { orders_count } : {};
      return { body: success({ service: 'order-service', status: 'healthy', ...counts }) };
    },
    async orderStats() {
      return { body: success(formatStats(await orders.countByStatus())) };
    },
    async listOrders({ caller, query: { cursor, limit, user_id, status } }) {
      const selection = {
        after: cursor,
        limit: limit + 1,
        userId: user_id,
        status,
        ownerId: ownerFilter(caller),
      };
      const { rows, next } = cutPage(await orders.list(selection), limit);
      return { body: { ...success(rows.map(formatOrder)), page: { next } } };
    },
    async listOrdersOfUser({ caller, params: { user_id: userId }, query: { cursor, limit, status } }) {
      requireAccessTo(caller, userId);
      const [ordersOfUser, total] = await Promise.all([
        orders.list({ after: cursor, limit: limit + 1, userId, status }),
        orders.countOf(userId),
      ]);
      const { rows, next } = cutPage(ordersOfUser, limit);
      return { body: { ...success(rows.map(formatOrder)), page: { next, total } } };
    },
    async getOrder({ caller, params: { id } }) {
      return orderResponse(await orders.find(id, ownerFilter(caller)));
    },
    async placeOrder({ caller, body: order, keyed }) {
      requireAccessTo(caller, order.user_id);
      return idempotency.run(keyed, (once) => placeOrder(order, once), createdResponse, {
        readsFirst: false,
      });
    },
    async updateOrderStatus({ caller, params: { id }, body: { status }, precondition }) {
      addAuditDetails({ newStatus: status });
      const ownerId = ownerFilter(caller);
      if (ownerId !== undefined && status !== 'cancelled') {
        // An order of another user is a 404, not a 403.
        await orders.find(id, ownerId);
        throw forbidden('Users can only cancel their orders. Other status changes require the role admin.');
      }
      return orderResponse(
        await orders.changeStatus(id, (from) => moveStatus(from, status), precondition, ownerId),
      );
    },
    async cancelOrder({ caller, params: { id }, precondition }) {
      const cancel = (from: OrderStatus) => moveStatus(from, 'cancelled');
      return orderResponse(await orders.changeStatus(id, cancel, precondition, ownerFilter(caller)));
    },
  };
}

function createdResponse(order: Order) {
  return { ...orderResponse(order), location: `/api/orders/${order.id}` };
}

function orderResponse(order: Order) {
  return { body: success(formatOrder(order)), version: order.version };
}

function formatOrder({
  id,
  userId,
  product,
  quantity,
  totalCents,
  status,
  createdAt,
  updatedAt,
}: Order): OrderBody {
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

function formatStats(counts: Record<OrderStatus, StatusCount>): OrderStats {
  const by_status = Object.fromEntries(
    orderStatuses.map((status) => {
      const { orders: count, totalCents } = counts[status];
      return [status, { count, total: toAmount(totalCents) }];
    }),
  ) as OrderStats['by_status'];
  return { orders: orderStatuses.reduce((sum, status) => sum + counts[status].orders, 0), by_status };
}
