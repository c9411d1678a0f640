import { type FieldError, type ProblemCode, problemTypes } from '@zerda/contracts/problems';

/** What can be said of one failure beside its kind. */
export interface FailureOptions {
  /** What happened this time, for the caller to read: no secrets, no SQL. */
  readonly detail?: string;
  /** Each member of the request that does not fit. */
  readonly errors?: readonly FieldError[];
  /** Headers of the answer, such as Retry-After or Allow. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What made it happen, for the log. */
  readonly cause?: unknown;
}

/**
 * An error that the caller may know of, named by its kind in the table of problems. Domain and store throw it
 * without knowing of HTTP; `problemHandler` maps it to a status in one place. Any other error is a fault (500).
 */
export class Failure extends Error {
  readonly code: ProblemCode;
  readonly detail: string | undefined;
  readonly errors: readonly FieldError[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, options: FailureOptions = {}) {
    super(options.detail ?? problemTypes[code].title, { cause: options.cause });
    this.name = 'Failure';
    this.code = code;
    this.detail = options.detail;
    this.errors = options.errors;
    this.headers = options.headers ?? {};
  }
}
