import type { Queries } from '@zerda/chassis/database/database';
import { on, type Subscription } from '@zerda/chassis/events/receiver';
import { userEvents } from '@zerda/contracts/events/users';
import { cancelOpenOrders } from '../store/cancel-orders.ts';
import { forgetUser, rememberUsers } from '../store/known-users.ts';

/** Orders that one transaction cancels at most, so that none is long. */
const chunk = 100;

/** What order-service does when it hears of users. */
export const userSubscriptions: readonly Subscription[] = [
  on(userEvents.userCreated, remember),
  on(userEvents.userUpdated, remember),
  on(userEvents.userDeleted, (tx, { data }) => cancelForDeletedUser(tx, data.id)),
];

async function remember(
  tx: Queries,
  { data }: { readonly data: { readonly id: number } },
): Promise<undefined> {
  await rememberUsers(tx, [data.id]);
}

/**
 * The saga of a deleted user, one part of it: no more orders from here on, then the open ones are cancelled. It can be cut short
 * anywhere, for the next run finds what is left.
 */
export async function cancelForDeletedUser(tx: Queries, userId: number): Promise<'more' | undefined> {
  await forgetUser(tx, userId);
  return (await cancelOpenOrders(tx, userId, chunk)) === chunk ? 'more' : undefined;
}
