import type { Handlers } from '@zerda/chassis/http/api-router';
import type { DegradedPart, gatewayOperations } from '@zerda/contracts/gateway';
import type { orderOperations } from '@zerda/contracts/orders';
import type { AnswerOf } from '@zerda/contracts/protocol/operation';
import type { userOperations } from '@zerda/contracts/users';
import type { Upstreams } from '../upstreams.ts';
import { gather, read } from './parts.ts';

/** What each service says of itself; one that does not answer is unhealthy, which is an answer too. */
export function createHealth({ users, orders }: Upstreams): Handlers<typeof gatewayOperations>['getHealth'] {
  return async () => {
    const { optional, degraded } = await gather({
      optional: {
        user_service: () => read<AnswerOf<typeof userOperations.userHealth>>(users, '/api/users/health'),
        order_service: () => read<AnswerOf<typeof orderOperations.orderHealth>>(orders, '/api/orders/health'),
      },
    });
    return {
      body: {
        status: 'success',
        data: {
          gateway: 'healthy',
          services: {
            user_service: optional.user_service?.data ?? unhealthy('user-service', 'user_service', degraded),
            order_service:
              optional.order_service?.data ?? unhealthy('order-service', 'order_service', degraded),
          },
          overall_status: degraded === undefined ? 'healthy' : 'degraded',
        },
      },
    };
  };
}

function unhealthy<Service extends string>(service: Service, part: string, degraded: DegradedPart[] = []) {
  const reason = degraded.find((missing) => missing.part === part)?.reason ?? 'error';
  return { service, status: 'unhealthy' as const, reason };
}
