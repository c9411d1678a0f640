import type { Handlers } from '@zerda/chassis/http/api-router';
import type { gatewayOperations } from '@zerda/contracts/gateway';
import type { orderOperations } from '@zerda/contracts/orders';
import type { AnswerOf } from '@zerda/contracts/protocol/operation';
import type { userOperations } from '@zerda/contracts/users';
import type { Upstreams } from '../upstreams.ts';
import { gather, read } from './parts.ts';

/** A user with their orders: without the user there is no profile, without the orders it is degraded. */
export function createProfile({
  users,
  orders,
}: Upstreams): Handlers<typeof gatewayOperations>['getProfile'] {
  return async ({ params: { id } }) => {
    const { required, optional, degraded } = await gather({
      required: { user: () => read<AnswerOf<typeof userOperations.getUser>>(users, `/api/users/${id}`) },
      optional: {
        orders: () =>
          read<AnswerOf<typeof orderOperations.listOrdersOfUser>>(orders, `/api/orders/user/${id}`),
      },
    });
    return {
      body: {
        status: 'success',
        data: {
          user: required.user.data,
          orders: optional.orders?.data ?? null,
          total_orders: optional.orders?.page.total ?? null,
          ...(degraded !== undefined && { degraded }),
        },
      },
    };
  };
}
