import { sampleServiceContract } from '@zerda/contracts/sample-service/contract';
import { subscribe } from '@zerda/events/receiver';
import { deleteOfUser } from '../store/delete-of-user.ts';

/** Handlers of the events that the contract lists. The AsyncAPI document is generated from the contract. */
export const userSubscriptions = subscribe(sampleServiceContract.receives.events, {
  userDeleted: (tx, { data }) => deleteOfUser(tx, data.id),
});
