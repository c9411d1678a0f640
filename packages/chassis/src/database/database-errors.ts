import { Failure } from '../failure.ts';

/** Node error codes and SQLSTATEs which mean that the database is unavailable, not that the query is wrong. */
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

/** Messages of pg errors without a code: a connection broke or was not available in time. */
const brokenConnection =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout)/;

/** deadlock_detected and serialization_failure: a retry of the transaction can succeed. */
const retryable = new Set(['40P01', '40001']);

/** Properties of driver errors. */
export interface DriverError {
  readonly code?: string;
  readonly constraint?: string;
  readonly message?: string;
  /** Function in the server that reported the error. */
  readonly routine?: string;
}

/** Returns the error of the driver. drizzle wraps it in an error with the text of the query. */
export function driverError(error: unknown): DriverError {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return (inner ?? {}) as DriverError;
}

/** Returns whether a retry of the transaction can succeed. */
export function isRetryable(error: unknown): boolean {
  return retryable.has(driverError(error).code ?? '') || isStalePlan(error);
}

/**
 * Returns whether a prepared statement failed because a migration has changed its result types (feature_not_supported,
 * "cached plan must not change result type"). The message depends on the server language; the function name does not.
 */
export function isStalePlan(error: unknown): boolean {
  const { code, routine } = driverError(error);
  return code === '0A000' && routine === 'RevalidateCachedQuery';
}

/** Returns whether the error is a violation of this unique constraint or index. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  const { code, constraint: violated } = driverError(error);
  return code === '23505' && violated === constraint;
}

/** Codes of statements that took too long. Another connection would not help. */
const timeoutCodes = new Set(['57014', '25P03']);

/**
 * Returns whether the connection broke or could not be established. The operation can succeed on another connection.
 */
export function isConnectionLost(error: unknown): boolean {
  return isUnavailable(error) && !timeoutCodes.has(driverError(error).code ?? '');
}

function isUnavailable(error: unknown): boolean {
  const { code = '', message = '' } = driverError(error);
  return unavailable.has(code) || code.startsWith('08') || brokenConnection.test(message);
}

/** Returns a `Failure` if the database is unavailable; returns any other error unchanged. */
export function toFailure(error: unknown): unknown {
  if (error instanceof Failure) return error;
  return isUnavailable(error)
    ? new Failure('database-unavailable', { retryAfterSeconds: 1, cause: error })
    : error;
}
