import { type Announcement, announce } from '@zerda/chassis/events/outbox';
import { type CancelReason, orderEvents } from '@zerda/contracts/events/orders';
import type { OrderStatus } from '@zerda/contracts/orders';
import { toAmount } from '../domain/money.ts';
import type { StoredOrder } from './tables.ts';

/** Tells of an order that was placed. */
export function announceOrder(order: StoredOrder): Announcement {
  const { id, userId, product, quantity, totalCents, status, version, createdAt } = order;
  return announce(orderEvents.orderCreated, {
    id,
    version,
    data: {
      ...{ id, user_id: userId, product, quantity, status },
      total: toAmount(totalCents),
      created_at: createdAt.toISOString(),
    },
  });
}

/** Tells of an order that has another status now; a cancellation is an event of its own. */
export function announceChange(
  { id, userId, status, version, updatedAt }: StoredOrder,
  from: OrderStatus,
  reason: CancelReason = 'requested',
): Announcement {
  const at = updatedAt.toISOString();
  if (status === 'cancelled') {
    const data = { id, user_id: userId, from, reason, cancelled_at: at };
    return announce(orderEvents.orderCancelled, { id, version, data });
  }
  const data = { id, user_id: userId, from, to: status, updated_at: at };
  return announce(orderEvents.orderStatusChanged, { id, version, data });
}
