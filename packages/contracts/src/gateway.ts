import { z } from 'zod';
import { order, orderServiceHealth } from './orders.ts';
import { success } from './protocol/envelope.ts';
import { defineOperation } from './protocol/operation.ts';
import { count, idText, instant, sum } from './protocol/values.ts';
import { user, userServiceHealth } from './users.ts';

/** Why a part of an aggregate is missing. */
export const degradedReason = z.enum(['circuit_open', 'overloaded', 'timeout', 'unreachable', 'error']);

export type DegradedReason = z.infer<typeof degradedReason>;

/** A part of an aggregate that could not be had, or only as it was some time ago. */
export const degradedPart = z
  .strictObject({
    part: z.string().describe('Name of the part.'),
    reason: degradedReason,
    status: z.int().optional().describe('The status that its service answered, when it did.'),
    stale_seconds: z
      .int()
      .min(0)
      .optional()
      .describe('How old what is shown of it is, in seconds; absent when nothing is.'),
  })
  .meta({ id: 'DegradedPart' });

export type DegradedPart = z.infer<typeof degradedPart>;

const degraded = z
  .array(degradedPart)
  .optional()
  .describe(
    'The parts that are missing, each null above, or old, with `stale_seconds`; absent when the answer is whole.',
  );

/** A user with their orders. */
export const profile = z
  .strictObject({
    user,
    orders: z.array(order).nullable().describe('The first page of orders; null when they could not be had.'),
    total_orders: count.nullable().describe('Orders of the user; null when they could not be had.'),
    next_orders: z
      .string()
      .optional()
      .describe('Cursor of the next page of `/api/orders/user/{id}`; absent when these are all.'),
    degraded,
  })
  .meta({ id: 'Profile' });

/** The numbers of the whole system. */
export const dashboard = z
  .strictObject({
    total_users: count.nullable(),
    total_orders: count.nullable(),
    pending_orders: count.nullable(),
    completed_orders: count.nullable(),
    total_revenue: sum.nullable().describe('Sum of the totals of completed orders.'),
    degraded,
  })
  .meta({ id: 'Dashboard' });

function unhealthy<Name extends string>(service: Name) {
  return z.strictObject({
    service: z.literal(service),
    status: z.literal('unhealthy'),
    reason: degradedReason,
  });
}

const circuit = z
  .strictObject({
    state: z.enum(['closed', 'half-open', 'open']),
    since: instant.describe('When it took this state.'),
    successes: count.describe('Calls that showed the service working.'),
    failures: count.describe('Calls that failed.'),
    rejections: count.describe('Calls that were not let through.'),
    openings: count.describe('How often it opened.'),
    in_flight: count.describe('Calls that are running.'),
  })
  .meta({ id: 'Circuit' });

/** The health of the gateway and of what is behind it. */
export const systemHealth = z
  .strictObject({
    gateway: z.literal('healthy'),
    services: z
      .object({
        user_service: z.union([userServiceHealth, unhealthy('user-service')]),
        order_service: z.union([orderServiceHealth, unhealthy('order-service')]),
      })
      .catchall(z.unknown())
      .describe('What each service says of itself, by its name.'),
    circuits: z
      .object({ user_service: circuit, order_service: circuit })
      .catchall(circuit)
      .optional()
      .describe(
        "The gateway's circuit breaker of each service, since the gateway began; for admins, and where authentication is off.",
      ),
    authentication: z
      .enum(['required', 'off'])
      .describe('Whether the gateway asks who is asking; `off` lets everybody do everything.'),
    checked_at: instant.describe('When the services were asked: one result serves all callers for a second.'),
    overall_status: z.enum(['healthy', 'degraded']),
  })
  .meta({ id: 'SystemHealth' });

const tag = 'Gateway';

/** What the gateway answers itself; everything else it forwards. */
export const gatewayOperations = {
  getProfile: defineOperation({
    id: 'getProfile',
    method: 'get',
    path: '/api/users/{id}/profile',
    access: 'user',
    summary: 'A user with their orders',
    tag,
    params: z.strictObject({ id: idText.describe('Id of the user.') }),
    answer: {
      status: 200,
      description: 'The profile; "degraded" names parts that are missing.',
      schema: success(profile),
    },
    problems: [
      'user-not-found',
      'upstream-failed',
      'upstream-overloaded',
      'upstream-unavailable',
      'upstream-timeout',
    ],
  }),
  getDashboard: defineOperation({
    id: 'getDashboard',
    method: 'get',
    path: '/api/dashboard',
    access: 'admin',
    summary: 'The numbers of the whole system',
    tag,
    answer: {
      status: 200,
      description: 'The numbers; "degraded" names parts that are missing.',
      schema: success(dashboard),
    },
    problems: ['upstream-failed', 'upstream-overloaded', 'upstream-unavailable', 'upstream-timeout'],
  }),
  getHealth: defineOperation({
    id: 'getHealth',
    method: 'get',
    path: '/api/health',
    access: 'optional',
    summary: 'Health of every service',
    tag,
    answer: {
      status: 200,
      description: 'Always 200 while the gateway answers.',
      schema: success(systemHealth),
    },
    problems: [],
  }),
} as const;
