import { z } from 'zod';
import { countedPageOf, pageOf, success } from './protocol/envelope.ts';
import { defineOperation } from './protocol/operation.ts';
import { pageQuery } from './protocol/page.ts';
import { amount, count, id, idText, instant, line, sum } from './protocol/values.ts';

/** Every status an order can have; which may follow which is order-service's rule. */
export const orderStatuses = ['pending', 'processing', 'shipped', 'completed', 'cancelled'] as const;

export const orderStatus = z.enum(orderStatuses);

export type OrderStatus = z.infer<typeof orderStatus>;

/** An order as every service shows it. */
export const order = z
  .strictObject({
    id,
    user_id: id,
    product: z.string(),
    quantity: z.int().min(1),
    total: z.number().describe('The amount for all of it, two decimals at most.'),
    status: orderStatus,
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'Order' });

export type Order = z.infer<typeof order>;

/** What places an order. */
export const newOrder = z
  .strictObject({
    user_id: id.describe('Id of the user who orders.'),
    product: line(200).describe('What is ordered, 1 to 200 characters.'),
    quantity: z.int().min(1).max(1_000_000).describe('How many, 1 to 1,000,000.'),
    total: amount.describe('The amount for all of it, above zero, two decimals at most.'),
  })
  .meta({ id: 'NewOrder', examples: [{ user_id: 1, product: 'Laptop', quantity: 1, total: 999.99 }] });

export type NewOrder = z.infer<typeof newOrder>;

const statusChange = z.strictObject({ status: orderStatus }).meta({ id: 'StatusChange' });

const statusSum = z.strictObject({ count, total: sum });

/** Orders in all and by status. */
export const orderStats = z
  .strictObject({
    orders: count,
    by_status: z.strictObject(
      Object.fromEntries(orderStatuses.map((status) => [status, statusSum])) as Record<
        OrderStatus,
        typeof statusSum
      >,
    ),
  })
  .meta({ id: 'OrderStats' });

export type OrderStats = z.infer<typeof orderStats>;

/** What order-service says of itself. */
export const orderServiceHealth = z
  .strictObject({
    service: z.literal('order-service'),
    status: z.literal('healthy'),
    orders_count: count.optional().describe('Number of orders; for admins, and where authentication is off.'),
  })
  .meta({ id: 'OrderServiceHealth' });

export type OrderServiceHealth = z.infer<typeof orderServiceHealth>;

const tag = 'Orders';
const byId = z.strictObject({ id: idText.describe('Id of the order.') });
const statusFilter = orderStatus.optional().describe('Only orders in this status.');

/** The API of order-service. */
export const orderOperations = {
  orderHealth: defineOperation({
    id: 'orderHealth',
    method: 'get',
    path: '/api/orders/health',
    access: 'optional',
    summary: 'Health of order-service',
    tag,
    answer: {
      status: 200,
      description: 'The service responds, and so does its database.',
      schema: success(orderServiceHealth),
    },
    problems: [],
  }),
  orderStats: defineOperation({
    id: 'orderStats',
    method: 'get',
    path: '/api/orders/stats',
    access: 'admin',
    summary: 'Orders and their totals by status',
    tag,
    answer: {
      status: 200,
      description: 'Counts and sums, kept with every write.',
      schema: success(orderStats),
    },
    problems: [],
  }),
  listOrders: defineOperation({
    id: 'listOrders',
    method: 'get',
    path: '/api/orders',
    access: 'user',
    summary: 'List orders',
    tag,
    query: z.strictObject({
      ...pageQuery,
      user_id: idText.optional().describe('Only orders of this user.'),
      status: statusFilter,
    }),
    answer: {
      status: 200,
      description: 'A page of orders in the order of their ids.',
      schema: pageOf(order),
    },
    problems: [],
  }),
  listOrdersOfUser: defineOperation({
    id: 'listOrdersOfUser',
    method: 'get',
    path: '/api/orders/user/{user_id}',
    access: 'user',
    summary: "List a user's orders",
    description:
      "A user without orders has an empty list; `page.total` counts all of the user's orders, whatever their status.",
    tag,
    params: z.strictObject({ user_id: idText.describe('Id of the user.') }),
    query: z.strictObject({ ...pageQuery, status: statusFilter }),
    answer: {
      status: 200,
      description: 'A page of orders in the order of their ids.',
      schema: countedPageOf(order),
    },
    problems: [],
  }),
  getOrder: defineOperation({
    id: 'getOrder',
    method: 'get',
    path: '/api/orders/{id}',
    access: 'user',
    summary: 'Get an order',
    tag,
    params: byId,
    accepts: { preconditions: true },
    answer: { status: 200, description: 'The order.', schema: success(order), etag: true },
    problems: ['order-not-found'],
  }),
  placeOrder: defineOperation({
    id: 'placeOrder',
    method: 'post',
    path: '/api/orders',
    access: 'user',
    summary: 'Place an order',
    description: 'The order starts as pending.',
    tag,
    body: newOrder,
    accepts: { idempotencyKey: true },
    answer: {
      status: 201,
      description: 'The order as stored.',
      schema: success(order),
      etag: true,
      location: true,
    },
    problems: ['unknown-user', 'dependency-unavailable'],
  }),
  updateOrderStatus: defineOperation({
    id: 'updateOrderStatus',
    method: 'put',
    path: '/api/orders/{id}/status',
    access: 'user',
    summary: 'Move an order to another status',
    tag,
    params: byId,
    body: statusChange,
    accepts: { preconditions: true },
    answer: { status: 200, description: 'The order as stored.', schema: success(order), etag: true },
    problems: ['order-not-found', 'invalid-transition'],
  }),
  cancelOrder: defineOperation({
    id: 'cancelOrder',
    method: 'delete',
    path: '/api/orders/{id}',
    access: 'user',
    summary: 'Cancel an order',
    description: 'The order stays, with the status cancelled.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    answer: { status: 200, description: 'The order as stored.', schema: success(order), etag: true },
    problems: ['order-not-found', 'invalid-transition'],
  }),
} as const;
