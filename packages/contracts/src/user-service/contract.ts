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
  tags: {
    Users: 'User accounts. User-service implements these operations.',
    Identity:
      'Login sessions and the public keys of access tokens. User-service implements these operations.',
  },
  audit: {
    'session.create': 'A login. The entity id is the user, if the account exists.',
    'session.refresh': 'An exchange of a refresh token. The entity id is the user, if the session exists.',
    'session.revoke':
      'A logout, or the reuse of a refresh token. The entity id is the user, if the session exists.',
    'user.create': 'A user is created, by an admin, by sign-up or as the first admin.',
    'user.update': '`changed` names the members that the request sets, such as `role` or `password`.',
    'user.delete': 'A user is deleted with the password and all sessions.',
    'signing-key.create': 'The first key is created.',
    'signing-key.rotate': 'A next key is created. The entity id is its `kid`.',
    'signing-key.replace': 'A key is created and all others are deleted (`keys rotate --now`).',
  },
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
