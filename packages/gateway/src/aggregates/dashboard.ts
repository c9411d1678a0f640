import { Failure } from '@zerda/chassis/failure';
import type { Handlers } from '@zerda/chassis/http/api-router';
import type { gatewayOperations } from '@zerda/contracts/gateway';
import type { orderOperations } from '@zerda/contracts/orders';
import type { AnswerOf } from '@zerda/contracts/protocol/operation';
import type { userOperations } from '@zerda/contracts/users';
import type { Upstreams } from '../upstreams.ts';
import { gather, read } from './parts.ts';

/** The numbers of the whole system; either service may be away, not both. */
export function createDashboard({
  users,
  orders,
}: Upstreams): Handlers<typeof gatewayOperations>['getDashboard'] {
  return async () => {
    const { optional, degraded } = await gather({
      optional: {
        users: () => read<AnswerOf<typeof userOperations.userStats>>(users, '/api/users/stats'),
        orders: () => read<AnswerOf<typeof orderOperations.orderStats>>(orders, '/api/orders/stats'),
      },
    });
    if (optional.users === null && optional.orders === null) {
      const reasons = degraded?.map(({ part, reason }) => `${part}: ${reason}`).join(', ');
      throw new Failure('upstream-unavailable', {
        detail: `No part of the dashboard could be had (${reasons}).`,
        headers: { 'Retry-After': '1' },
      });
    }
    const byStatus = optional.orders?.data.by_status;
    return {
      body: {
        status: 'success',
        data: {
          total_users: optional.users?.data.users ?? null,
          total_orders: optional.orders?.data.orders ?? null,
          pending_orders: byStatus?.pending.count ?? null,
          completed_orders: byStatus?.completed.count ?? null,
          total_revenue: byStatus?.completed.total ?? null,
          ...(degraded !== undefined && { degraded }),
        },
      },
    };
  };
}
