import { Failure } from '../failure.ts';

/** Codes and names of errors, which contain no values. */
const safe = /^[\w.-]{1,64}$/;

/** Returns `error.type` of an error: the code of a problem, else that of the error or of its cause, else its name; `_OTHER` if it has none. */
export function errorTypeOf(error: unknown): string {
  if (error instanceof Failure) return error.code;
  const { code, cause, name } = (error ?? {}) as {
    code?: unknown;
    cause?: { code?: unknown };
    name?: unknown;
  };
  // drizzle wraps the errors of drivers.
  for (const value of [code, cause?.code, name])
    if (typeof value === 'string' && safe.test(value)) return value;
  return '_OTHER';
}
