import { z } from 'zod';
import { orderStatus } from '../orders.ts';
import { amount, id, instant } from '../protocol/values.ts';
import { defineEvent } from './definition.ts';

const common = { source: '/order-service', subjects: 'orders' } as const;

/** Why an order was cancelled. */
export const cancelReasons = ['requested', 'user_deleted'] as const;

export type CancelReason = (typeof cancelReasons)[number];

/** What order-service tells of orders. Each change of an order makes exactly one of them. */
export const orderEvents = {
  orderCreated: defineEvent({
    ...common,
    type: 'zerda.order.created.v1',
    summary: 'An order was placed',
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
    summary: 'An order went on to another status',
    description: 'A cancellation is an event of its own.',
    data: z.strictObject({ id, user_id: id, from: orderStatus, to: orderStatus, updated_at: instant }),
  }),
  orderCancelled: defineEvent({
    ...common,
    type: 'zerda.order.cancelled.v1',
    summary: 'An order was cancelled',
    data: z.strictObject({
      id,
      user_id: id,
      from: orderStatus.describe('Status the order had.'),
      reason: z
        .enum(cancelReasons)
        .describe('`requested`: somebody asked for it; `user_deleted`: its user is gone.'),
      cancelled_at: instant,
    }),
  }),
} as const;
