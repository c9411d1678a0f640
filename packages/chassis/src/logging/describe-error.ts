/** An error in the log. */
export interface DescribedError {
  readonly type: string;
  readonly message: string;
  /** Error code of Node.js, PostgreSQL or a library. */
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: DescribedError;
  readonly errors?: readonly DescribedError[];
}

/** Maximum depth of nested causes and errors. */
const maxDepth = 5;

/**
 * Converts an error for the log. It copies only the listed members, because libraries attach secrets to errors: axios the request headers
 * with the caller's token, drizzle the parameters of the statement.
 */
export function describeError(error: unknown, depth = 0): DescribedError {
  if (!(error instanceof Error))
    return { type: typeof error, message: typeof error === 'string' ? error : '' };
  const { code, errors, query } = error as { code?: unknown; errors?: unknown; query?: unknown };
  const type = error.constructor.name;
  // The message of drizzle includes the parameters after the statement.
  const message = typeof query === 'string' && 'params' in error ? `Failed query: ${query}` : error.message;
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return {
    type,
    message,
    ...(typeof code === 'string' && { code }),
    stack: [`${type}: ${message}`, ...frames].join('\n'),
    ...(error.cause !== undefined && depth < maxDepth && { cause: describeError(error.cause, depth + 1) }),
    ...(Array.isArray(errors) &&
      depth < maxDepth && { errors: errors.map((nested) => describeError(nested, depth + 1)) }),
  };
}
