import { z } from 'zod';
import { countedPageOf, pageOf, success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { pageQuery } from '../protocol/page.ts';
import { amount, count, id, idText, instant, line, sum } from '../protocol/values.ts';

/** Every status of an order. Order-service defines the allowed transitions. */
export const orderStatuses = ['pending', 'processing', 'shipped', 'completed', 'cancelled'] as const;

export const orderStatus = z.enum(orderStatuses);

export type OrderStatus = z.infer<typeof orderStatus>;

/** An order as the APIs return it. */
export const order = z
  .strictObject({
    id,
    user_id: id,
    product: z.string(),
    quantity: z.int().min(1),
    total: z.number().describe('Total price of the order, with at most two decimals.'),
    status: orderStatus,
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'Order', description: 'An order of one product by one user.' });

export type Order = z.infer<typeof order>;

/** Request body of `placeOrder`. */
export const newOrder = z
  .strictObject({
    user_id: id.describe('Id of the user who places the order.'),
    product: line(200).describe('Name of the product, 1 to 200 characters.'),
    quantity: z.int().min(1).max(1_000_000).describe('Number of items, 1 to 1,000,000.'),
    total: amount.describe('Total price of the order, greater than zero, with at most two decimals.'),
  })
  .meta({
    id: 'NewOrder',
    description: 'Request body that places an order. Users can place orders only for themselves.',
    examples: [{ user_id: 1, product: 'Laptop', quantity: 1, total: 999.99 }],
  });

export type NewOrder = z.infer<typeof newOrder>;

const statusChange = z
  .strictObject({ status: orderStatus.describe('The new status.') })
  .meta({ id: 'StatusChange', description: 'Request body that changes the status of an order.' });

const statusSum = z.strictObject({ count, total: sum });

/** Number of orders, and number and total price by status. */
export const orderStats = z
  .strictObject({
    orders: count.describe('Number of orders.'),
    by_status: z
      .strictObject(
        Object.fromEntries(orderStatuses.map((status) => [status, statusSum])) as Record<
          OrderStatus,
          typeof statusSum
        >,
      )
      .describe('Number of orders and sum of their totals, by status.'),
  })
  .meta({ id: 'OrderStats', description: 'Totals of order-service.' });

export type OrderStats = z.infer<typeof orderStats>;

/** Health of order-service. */
export const orderServiceHealth = z
  .strictObject({
    service: z.literal('order-service'),
    status: z.literal('healthy'),
    orders_count: count
      .optional()
      .describe('Number of orders; present for admins or if authentication is off.'),
  })
  .meta({
    id: 'OrderServiceHealth',
    description: 'Health of order-service. The service and its database responded.',
  });

export type OrderServiceHealth = z.infer<typeof orderServiceHealth>;

const tag = 'Orders';
const byId = z.strictObject({ id: idText.describe('Id of the order.') });
const statusFilter = orderStatus.optional().describe('Only orders with this status.');

/** The API of order-service. */
export const orderOperations = {
  orderHealth: defineOperation({
    id: 'orderHealth',
    method: 'get',
    path: '/api/orders/health',
    access: 'optional',
    summary: 'Health of order-service',
    description:
      'Queries the database and returns 503 if it does not respond. Works without a token; admins also get the number of orders.',
    tag,
    response: {
      status: 200,
      description: 'The service and its database respond.',
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
    description:
      'Returns counters that every write updates, so the cost does not depend on the number of orders.',
    tag,
    response: {
      status: 200,
      description: 'Number of orders and sum of their totals.',
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
    description:
      'Returns orders in ascending order of id, one page at a time. Users see only their own orders; admins see all orders.',
    tag,
    query: z.strictObject({
      ...pageQuery,
      user_id: idText.optional().describe('Only orders of this user.'),
      status: statusFilter,
    }),
    response: {
      status: 200,
      description: 'One page of orders in ascending order of id.',
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
      'If the user has no orders, the list is empty. `page.total` is the number of orders of the user in any status.',
    tag,
    params: z.strictObject({ user_id: idText.describe('Id of the user.') }),
    query: z.strictObject({ ...pageQuery, status: statusFilter }),
    response: {
      status: 200,
      description: 'One page of orders in ascending order of id.',
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
    description:
      "Users can get only their own orders; another user's order is a 404. Supports conditional requests with the `ETag` of an earlier response.",
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The order.', schema: success(order), etag: true },
    problems: ['order-not-found'],
  }),
  placeOrder: defineOperation({
    id: 'placeOrder',
    method: 'post',
    path: '/api/orders',
    access: 'user',
    audit: 'order.create',
    summary: 'Place an order',
    description:
      'Stores the order with the status `pending`. If order-service does not know the user, it asks user-service. Send an `Idempotency-Key` to repeat the request safely.',
    tag,
    body: newOrder,
    accepts: { idempotencyKey: true },
    response: {
      status: 201,
      description: 'The placed order.',
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
    audit: 'order.change-status',
    summary: 'Change the status of an order',
    description:
      'Orders move from `pending` to `processing`, `shipped` and `completed`, one step at a time. Users can only cancel their own orders; admins can make any allowed transition.',
    tag,
    params: byId,
    body: statusChange,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The changed order.', schema: success(order), etag: true },
    problems: ['order-not-found', 'invalid-transition'],
  }),
  cancelOrder: defineOperation({
    id: 'cancelOrder',
    method: 'delete',
    path: '/api/orders/{id}',
    access: 'user',
    audit: 'order.cancel',
    summary: 'Cancel an order',
    description:
      'Sets the status to `cancelled`; the order is not deleted. Only pending and processing orders can be canceled.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The canceled order.', schema: success(order), etag: true },
    problems: ['order-not-found', 'invalid-transition'],
  }),
} as const;
