import type { gatewayOperations } from './gateway.ts';
import type { identityOperations } from './identity.ts';
import type { orderOperations } from './orders.ts';
import type { userOperations } from './users.ts';

/**
 * Who can ask, where authentication is required:
 * - `anonymous`: no token
 * - `bad-token`: a token that is not valid, for whatever reason
 * - `stranger`: a valid token of an identity that is no user of user-service
 * - `user-other`: a user, and what is asked for belongs to another one
 * - `user-self`: a user, and what is asked for is their own
 * - `admin`: an admin, and what is asked for belongs to another one
 */
export const callerKinds = [
  'anonymous',
  'bad-token',
  'stranger',
  'user-other',
  'user-self',
  'admin',
] as const;

export type CallerKind = (typeof callerKinds)[number];

/** Any operation of any service. */
export type OperationName =
  | keyof typeof gatewayOperations
  | keyof typeof identityOperations
  | keyof typeof orderOperations
  | keyof typeof userOperations;

/** What each kind of caller is answered to a request that is right in every other way. */
export interface AuthorizationRow {
  readonly operation: OperationName;
  /** What is particular about the request, where the answer depends on more than who asks. */
  readonly when?: string;
  /** HTTP status by caller. */
  readonly status: Readonly<Record<CallerKind, number>>;
}

/** In the order of `callerKinds`. */
type Statuses = readonly [number, number, number, number, number, number];

function row(operation: OperationName, statuses: Statuses, when?: string): AuthorizationRow {
  const status = Object.fromEntries(callerKinds.map((kind, index) => [kind, statuses[index]])) as Record<
    CallerKind,
    number
  >;
  return { operation, status, ...(when !== undefined && { when }) };
}

/**
 * Who may do what: the one table that every service is tested by, cell by cell. Where the path says whose it is, somebody else gets
 * 403, whether or not it exists; where only the database can say, 404, as for what does not exist. Lists are cut to what is
 * the caller's.
 */
export const authorization: readonly AuthorizationRow[] = [
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
  row('createUser', [201, 401, 403, 403, 403, 201], 'sign-up is open'),
  row('createUser', [403, 401, 403, 403, 403, 201], 'sign-up is open, with the role admin'),
  row('updateUser', [401, 401, 403, 403, 200, 200]),
  row('updateUser', [401, 401, 403, 403, 403, 200], 'with a role'),
  row('updateUser', [401, 401, 403, 403, 422, 200], 'with a password, without the current one'),
  row('updateUser', [401, 401, 403, 403, 200, 200], 'with a password and the current one'),
  row('deleteUser', [401, 401, 403, 403, 200, 200]),

  row('orderHealth', [200, 401, 200, 200, 200, 200]),
  row('orderStats', [401, 401, 403, 403, 403, 200]),
  row('listOrders', [401, 401, 200, 200, 200, 200]),
  row('listOrdersOfUser', [401, 401, 403, 403, 200, 200]),
  row('getOrder', [401, 401, 404, 404, 200, 200]),
  row('placeOrder', [401, 401, 403, 403, 201, 201]),
  row('updateOrderStatus', [401, 401, 404, 404, 403, 200]),
  row('updateOrderStatus', [401, 401, 404, 404, 200, 200], 'to cancelled'),
  row('cancelOrder', [401, 401, 404, 404, 200, 200]),

  row('getHealth', [200, 401, 200, 200, 200, 200]),
  row('getProfile', [401, 401, 403, 403, 200, 200]),
  row('getDashboard', [401, 401, 403, 403, 403, 200]),
];
