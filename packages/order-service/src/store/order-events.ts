import { type CancelReason, orderEvents } from '@zerda/contracts/order-service/events';
import type { OrderStatus } from '@zerda/contracts/order-service/orders';
import { type NewEvent, newEvent } from '@zerda/events/outbox';
import { toAmount } from '../domain/money.ts';
import type { Order } from '../domain/order.ts';

/** Returns the event of a placed order. */
export function announceOrder(order: Order): NewEvent {
  const { id, userId, product, quantity, totalCents, status, version, createdAt } = order;
  return newEvent(orderEvents.orderCreated, {
    id,
    version,
    data: {
      id,
      user_id: userId,
      product,
      quantity,
      status,
      total: toAmount(totalCents),
      created_at: createdAt.toISOString(),
    },
  });
}

/** Returns the event of a status change. A cancellation has its own event type. */
export function announceChange(
  { id, userId, status, version, updatedAt }: Order,
  from: OrderStatus,
  reason: CancelReason = 'requested',
): NewEvent {
  const changedAt = updatedAt.toISOString();
  if (status === 'cancelled') {
    const data = { id, user_id: userId, from, reason, cancelled_at: changedAt };
    return newEvent(orderEvents.orderCancelled, { id, version, data });
  }
  const data = { id, user_id: userId, from, to: status, updated_at: changedAt };
  return newEvent(orderEvents.orderStatusChanged, { id, version, data });
}
