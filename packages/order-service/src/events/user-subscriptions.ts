import type { Queries } from '@zerda/chassis/database/database';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { subscribe } from '@zerda/events/receiver';
import { cancelForDeletedUser } from '../store/cancel-orders.ts';
import { addKnownUsers } from '../store/known-users.ts';

/** Handlers of the events that the contract lists. The AsyncAPI document is generated from the contract. */
export const userSubscriptions = subscribe(orderServiceContract.receives.events, {
  userCreated: addKnownUser,
  userUpdated: addKnownUser,
  userDeleted: (tx, { data }) => cancelForDeletedUser(tx, data.id),
});

async function addKnownUser(
  tx: Queries,
  { data }: { readonly data: { readonly id: number } },
): Promise<undefined> {
  await addKnownUsers(tx, [data.id]);
}
