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

/** What the driver threw: drizzle wraps it with the text of the query. */
export function driverError(error: unknown): { code?: string; constraint?: string; message?: string } {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return (inner ?? {}) as { code?: string };
}

/** Whether running the transaction again makes sense. */
export function isRepeatable(error: unknown): boolean {
  return repeatable.has(driverError(error).code ?? '');
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
