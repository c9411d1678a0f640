import { row } from '../authorization.ts';
import type { ServiceContract } from '../service-contract.ts';
import { userEvents } from '../user-service/events.ts';
import { sampleItemEvents } from './events.ts';
import { sampleItemOperations, sampleItemTag } from './sample-items.ts';

/** Contract of sample-service. */
export const sampleServiceContract = {
  name: 'sample-service',
  description: 'Sample items of users.',
  tags: { [sampleItemTag]: 'Sample items of users. Implemented by sample-service.' },
  audit: {
    'sample-item.create': 'One sample item is created.',
    'sample-item.update': 'The name of the sample item changes.',
    'sample-item.delete': 'The sample item is deleted, by a request or with its user.',
  },
  operations: sampleItemOperations,
  authorization: [
    row('sampleItemHealth', [200, 401, 200, 200, 200, 200]),
    row('listSampleItems', [401, 401, 200, 200, 200, 200]),
    row('getSampleItem', [401, 401, 404, 404, 200, 200]),
    row('createSampleItem', [401, 401, 403, 403, 201, 201]),
    row('updateSampleItem', [401, 401, 404, 404, 200, 200]),
    row('deleteSampleItem', [401, 401, 404, 404, 200, 200]),
  ],
  sends: {
    channel: 'Created, changed and deleted sample items, published by sample-service.',
    events: sampleItemEvents,
    description:
      'Writes each event to the outbox in the transaction that changes the sample item; a relay sends it after the commit.',
  },
  receives: {
    events: { userDeleted: userEvents.userDeleted },
    description: 'Deletes the sample items of a deleted user.',
  },
} as const satisfies ServiceContract;
