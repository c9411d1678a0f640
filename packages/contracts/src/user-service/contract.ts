import { row } from '../authorization.ts';
import type { ServiceContract } from '../service-contract.ts';
import { userEvents } from './events.ts';
import { identityOperations } from './identity.ts';
import { userIdsOperations } from './user-ids.ts';
import { userOperations } from './users.ts';

/** Contract of user-service. */
export const userServiceContract = {
  name: 'user-service',
  description: 'User accounts, login sessions and access tokens.',
  operations: { ...userOperations, ...identityOperations },
  management: userIdsOperations,
  authorization: [
    row('login', [200, 200, 200, 200, 200, 200]),
    row('refresh', [200, 200, 200, 200, 200, 200]),
    row('logout', [200, 200, 200, 200, 200, 200]),
    row('publicKeys', [200, 200, 200, 200, 200, 200]),
    row('issuerMetadata', [200, 200, 200, 200, 200, 200]),

    row('userHealth', [200, 401, 200, 200, 200, 200]),
    row('userStats', [401, 401, 403, 403, 403, 200]),
    row('listUsers', [401, 401, 200, 200, 200, 200]),
    row('getUser', [401, 401, 403, 403, 200, 200]),
    row('createUser', [401, 401, 403, 403, 403, 201]),
    row('createUser', [401, 401, 403, 403, 403, 201], 'with the role admin'),
    row('createUser', [201, 401, 403, 403, 403, 201], 'with open sign-up'),
    row('createUser', [403, 401, 403, 403, 403, 201], 'with open sign-up and the role admin'),
    row('updateUser', [401, 401, 403, 403, 200, 200]),
    row('updateUser', [401, 401, 403, 403, 403, 200], 'with a role'),
    row('updateUser', [401, 401, 403, 403, 422, 200], 'with a password but not the current one'),
    row('updateUser', [401, 401, 403, 403, 200, 200], 'with a password and the current one'),
    row('deleteUser', [401, 401, 403, 403, 200, 200]),
  ],
  sends: {
    channel: 'Created, changed and deleted users, published by user-service.',
    events: userEvents,
    description:
      'Writes each event to the outbox in the transaction that changes the user; a relay sends it after the commit.',
  },
} as const satisfies ServiceContract;
