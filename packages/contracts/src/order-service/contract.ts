import { row } from '../authorization.ts';
import type { ServiceContract } from '../service-contract.ts';
import { userEvents } from '../user-service/events.ts';
import { orderEvents } from './events.ts';
import { orderOperations } from './orders.ts';

/** Contract of order-service. Its event handlers derive from the events that it receives. */
export const orderServiceContract = {
  name: 'order-service',
  description: 'Orders, their status and their totals.',
  tags: { Orders: 'Orders and their status. Order-service implements these operations.' },
  audit: {
    'order.create': 'An order is placed.',
    'order.change-status': 'An order gets the status `new_status`.',
    'order.cancel': 'An order is canceled, by a request or because its user was deleted.',
    'projection.replay': 'order-service synchronizes its known users with user-service.',
  },
  operations: orderOperations,
  authorization: [
    row('orderHealth', [200, 401, 200, 200, 200, 200]),
    row('orderStats', [401, 401, 403, 403, 403, 200]),
    row('listOrders', [401, 401, 200, 200, 200, 200]),
    row('listOrdersOfUser', [401, 401, 403, 403, 200, 200]),
    row('getOrder', [401, 401, 404, 404, 200, 200]),
    row('placeOrder', [401, 401, 403, 403, 201, 201]),
    row('updateOrderStatus', [401, 401, 404, 404, 403, 200]),
    row('updateOrderStatus', [401, 401, 404, 404, 200, 200], 'to cancelled'),
    row('cancelOrder', [401, 401, 404, 404, 200, 200]),
  ],
  sends: {
    channel: 'Placed, changed and canceled orders, published by order-service.',
    events: orderEvents,
    description:
      'Writes each event to the outbox in the transaction that changes the order; a relay sends it after the commit.',
  },
  receives: {
    events: {
      userCreated: userEvents.userCreated,
      userUpdated: userEvents.userUpdated,
      userDeleted: userEvents.userDeleted,
    },
    description:
      'Maintains a projection of the users, and cancels the pending and processing orders of a deleted user.',
  },
} as const satisfies ServiceContract;
