/**
 * Kinds of callers if authentication is required:
 * - `anonymous`: no token
 * - `bad-token`: an invalid token
 * - `unregistered`: a valid token whose subject is not a user of user-service
 * - `user-other`: a user who requests a resource of another user
 * - `user-self`: a user who requests their own resource
 * - `admin`: an admin who requests a resource of another user
 */
export const callerKinds = [
  'anonymous',
  'bad-token',
  'unregistered',
  'user-other',
  'user-self',
  'admin',
] as const;

export type CallerKind = (typeof callerKinds)[number];

/** Statuses that each kind of caller gets for an otherwise valid request. */
export interface AuthorizationRow {
  /** Name of the operation. */
  readonly operation: string;
  /** Condition on the request; present if the status depends on more than the caller. */
  readonly when?: string;
  /** HTTP status by kind of caller. */
  readonly status: Readonly<Record<CallerKind, number>>;
}

/** Statuses in the order of `callerKinds`. */
type Statuses = readonly [number, number, number, number, number, number];

/**
 * Describes the statuses of an operation. Tests of the service check each cell.
 * If the path contains the owner's id, other users get 403, whether or not the resource exists. If only the database knows the
 * owner, other users get 404, as for a resource that does not exist. Lists contain only the caller's own entries.
 */
export function row(operation: string, statuses: Statuses, when?: string): AuthorizationRow {
  const status = Object.fromEntries(callerKinds.map((kind, index) => [kind, statuses[index]])) as Record<
    CallerKind,
    number
  >;
  return { operation, status, ...(when !== undefined && { when }) };
}
