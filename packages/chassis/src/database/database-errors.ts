import { Failure } from '../failure.ts';

/** Codes of Node and SQLSTATEs that say the database, not the query, is the trouble. */
const unavailable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ETIMEDOUT',
  '53100', // disk_full
  '53200', // out_of_memory
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57014', // query_canceled: the statement timeout
  '25P03', // idle_in_transaction_session_timeout
]);

/** What pg throws without a code when a connection breaks or none comes in time. */
const brokenConnection =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout)/;

/** deadlock_detected and serialization_failure: the same transaction can succeed when run again. */
const repeatable = new Set(['40P01', '40001']);

/** What drivers say of an error, as far as it is looked at here. */
export interface DriverError {
  readonly code?: string;
  readonly constraint?: string;
  readonly message?: string;
  /** Function of the server that has reported the error. */
  readonly routine?: string;
}

/** What the driver threw: drizzle wraps it with the text of the query. */
export function driverError(error: unknown): DriverError {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return (inner ?? {}) as DriverError;
}

/** Whether running the transaction again makes sense. */
export function isRepeatable(error: unknown): boolean {
  return repeatable.has(driverError(error).code ?? '') || isStalePlan(error);
}

/**
 * Whether a prepared statement was refused because its result has other types now, after a migration (feature_not_supported,
 * "cached plan must not change result type"). The message may be in any language, the name of the function is not.
 */
export function isStalePlan(error: unknown): boolean {
  const { code, routine } = driverError(error);
  return code === '0A000' && routine === 'RevalidateCachedQuery';
}

/** Whether the error is the violation of that unique constraint or index. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  const { code, constraint: violated } = driverError(error);
  return code === '23505' && violated === constraint;
}

/** Of those codes, the ones that a statement brings about which takes too long: another connection would not help it. */
const tooSlow = new Set(['57014', '25P03']);

/** Whether the connection broke or could not be had: what was asked may succeed over another one. */
export function isConnectionLost(error: unknown): boolean {
  return isUnavailable(error) && !tooSlow.has(driverError(error).code ?? '');
}

function isUnavailable(error: unknown): boolean {
  const { code = '', message = '' } = driverError(error);
  return unavailable.has(code) || code.startsWith('08') || brokenConnection.test(message);
}

/** The error as callers may know it: a database that is away becomes a `Failure`, anything else stays as it is. */
export function asFailure(error: unknown): unknown {
  if (error instanceof Failure) return error;
  return isUnavailable(error)
    ? new Failure('database-unavailable', { headers: { 'Retry-After': '1' }, cause: error })
    : error;
}
