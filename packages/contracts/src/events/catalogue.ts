import type { EventDefinition } from './definition.ts';
import { orderEvents } from './orders.ts';
import { userEvents } from './users.ts';

/** Every event there is. */
export const allEvents: readonly EventDefinition[] = [
  ...Object.values(userEvents),
  ...Object.values(orderEvents),
];

/** The events that order-service hears. */
export const heardByOrderService = [
  userEvents.userCreated,
  userEvents.userUpdated,
  userEvents.userDeleted,
] as const;
