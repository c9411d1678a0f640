import { z } from 'zod';
import { defineEvent } from '../events/definition.ts';
import { amount, id, instant } from '../protocol/values.ts';
import { orderStatus } from './orders.ts';

const common = { source: '/order-service', subjects: 'orders' } as const;

/** Why an order was canceled. */
export const cancelReasons = ['requested', 'user_deleted'] as const;

export type CancelReason = (typeof cancelReasons)[number];

/** Events of order-service. Each change of an order causes exactly one event. */
export const orderEvents = {
  orderCreated: defineEvent({
    ...common,
    type: 'zerda.order.created.v1',
    summary: 'An order was placed',
    description: 'First event of an order, with all its data except the time of the last change.',
    data: z.strictObject({
      id,
      user_id: id,
      product: z.string(),
      quantity: z.int().min(1),
      total: amount,
      status: orderStatus,
      created_at: instant,
    }),
  }),
  orderStatusChanged: defineEvent({
    ...common,
    type: 'zerda.order.status_changed.v1',
    summary: 'The status of an order changed',
    description: 'Sent for every status except `cancelled`, which has its own event type.',
    data: z.strictObject({ id, user_id: id, from: orderStatus, to: orderStatus, updated_at: instant }),
  }),
  orderCancelled: defineEvent({
    ...common,
    type: 'zerda.order.cancelled.v1',
    summary: 'An order was canceled',
    description: 'Last event of an order that was canceled by a request or because its user was deleted.',
    data: z.strictObject({
      id,
      user_id: id,
      from: orderStatus.describe('Previous status of the order.'),
      reason: z
        .enum(cancelReasons)
        .describe('`requested`: canceled through the API; `user_deleted`: the user was deleted.'),
      cancelled_at: instant,
    }),
  }),
} as const;
