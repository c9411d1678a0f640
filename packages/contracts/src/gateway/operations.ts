import { z } from 'zod';
import { order, orderServiceHealth } from '../order-service/orders.ts';
import { success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { count, idText, instant, sum } from '../protocol/values.ts';
import { user, userServiceHealth } from '../user-service/users.ts';

/** Reason why a part of an aggregated response is missing or stale. */
export const degradedReason = z.enum(['circuit_open', 'overloaded', 'timeout', 'unreachable', 'error']);

export type DegradedReason = z.infer<typeof degradedReason>;

/** A missing or stale part of an aggregated response. */
export const degradedPart = z
  .strictObject({
    part: z.string().describe('Name of the part.'),
    reason: degradedReason,
    status: z.int().optional().describe('Status of the response from the service, if it responded.'),
    stale_seconds: z
      .int()
      .min(0)
      .optional()
      .describe('Age of the cached data in seconds; absent if the part is missing.'),
  })
  .meta({ id: 'DegradedPart', description: 'A missing or stale part of an aggregated response.' });

export type DegradedPart = z.infer<typeof degradedPart>;

const degraded = z
  .array(degradedPart)
  .optional()
  .describe(
    'Missing parts, which are null, and stale parts, which have `stale_seconds`. Absent if the response is complete.',
  );

/** A user with their orders. */
export const profile = z
  .strictObject({
    user,
    orders: z.array(order).nullable().describe('First page of orders; null if unavailable.'),
    total_orders: count.nullable().describe('Number of orders of the user; null if unavailable.'),
    next_orders: z
      .string()
      .optional()
      .describe('Cursor of the next page of `/api/orders/user/{id}`; absent on the last page.'),
    degraded,
  })
  .meta({
    id: 'Profile',
    description: 'A user and their orders, aggregated from user-service and order-service.',
  });

/** Totals of the system. */
export const dashboard = z
  .strictObject({
    total_users: count.nullable(),
    total_orders: count.nullable(),
    pending_orders: count.nullable(),
    completed_orders: count.nullable(),
    total_revenue: sum.nullable().describe('Sum of the totals of completed orders.'),
    degraded,
  })
  .meta({
    id: 'Dashboard',
    description:
      'Totals of the system, aggregated from user-service and order-service. Unavailable totals are null.',
  });

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
    since: instant.describe('Time of the last state change.'),
    successes: count.describe('Number of successful calls.'),
    failures: count.describe('Number of failed calls.'),
    rejections: count.describe('Number of calls rejected without contacting the service.'),
    openings: count.describe('Number of times the circuit opened.'),
    in_flight: count.describe('Number of calls in flight.'),
  })
  .meta({ id: 'Circuit', description: 'State and counters of a circuit breaker since the gateway started.' });

/** Health of the gateway and its upstream services. */
export const systemHealth = z
  .strictObject({
    gateway: z.literal('healthy'),
    services: z
      .object({
        user_service: z.union([userServiceHealth, unhealthy('user-service')]),
        order_service: z.union([orderServiceHealth, unhealthy('order-service')]),
      })
      .catchall(z.unknown())
      .describe('Health of each service, by service name.'),
    circuits: z
      .object({ user_service: circuit, order_service: circuit })
      .catchall(circuit)
      .optional()
      .describe('Circuit breaker of each service; present for admins or if authentication is off.'),
    authentication: z
      .enum(['required', 'off'])
      .describe('Whether the gateway requires authentication; `off` allows every request.'),
    checked_at: instant.describe('Time of the health check. The result is cached for one second.'),
    overall_status: z.enum(['healthy', 'degraded']).describe('`degraded` if any service is unhealthy.'),
  })
  .meta({ id: 'SystemHealth', description: 'Health of the gateway and of each upstream service.' });

const tag = 'Gateway';

/** Operations that the gateway implements itself; it forwards all others. */
export const gatewayOperations = {
  getProfile: defineOperation({
    id: 'getProfile',
    method: 'get',
    path: '/api/users/{id}/profile',
    access: 'user',
    summary: 'A user with their orders',
    description:
      'Calls user-service and order-service in parallel. If the orders are unavailable, `orders` is null and `degraded` contains the reason.',
    tag,
    params: z.strictObject({ id: idText.describe('Id of the user.') }),
    response: {
      status: 200,
      description: 'The profile. `degraded` lists missing and stale parts.',
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
    summary: 'Totals of the system',
    description:
      'Calls user-service and order-service in parallel. Totals of an unavailable service are null, and `degraded` contains the reason.',
    tag,
    response: {
      status: 200,
      description: 'The totals. `degraded` lists missing and stale parts.',
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
    description:
      'Checks all services and caches the result for one second. Unhealthy services change `overall_status`, not the HTTP status.',
    tag,
    response: {
      status: 200,
      description: 'The gateway is running. Individual services may be unhealthy.',
      schema: success(systemHealth),
    },
    problems: [],
  }),
} as const;
