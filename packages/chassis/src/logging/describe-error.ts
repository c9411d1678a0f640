/** An error as the log shows it. */
export interface DescribedError {
  readonly type: string;
  readonly message: string;
  /** Code of Node, PostgreSQL or a library, when it has one. */
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: DescribedError;
  readonly errors?: readonly DescribedError[];
}

/** Causes of causes that are shown. */
const deepest = 5;

/**
 * What the log tells of an error: an allow-list, for libraries hang onto their errors what they were working on, axios the headers
 * of the request with the caller's token, and drizzle the values of the statement.
 */
export function describeError(error: unknown, depth = 0): DescribedError {
  if (!(error instanceof Error))
    return { type: typeof error, message: typeof error === 'string' ? error : '' };
  const { code, errors, query } = error as { code?: unknown; errors?: unknown; query?: unknown };
  const type = error.constructor.name;
  // The values stand in the message, after the statement.
  const message = typeof query === 'string' && 'params' in error ? `Failed query: ${query}` : error.message;
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type,
    message,
    ...(typeof code === 'string' && { code }),
    stack: [`${type}: ${message}`, ...frames].join('\n'),
    ...(error.cause !== undefined && depth < deepest && { cause: describeError(error.cause, depth + 1) }),
    ...(Array.isArray(errors) &&
      depth < deepest && { errors: errors.map((one) => describeError(one, depth + 1)) }),
  };
}
