import { type FieldError, type ProblemCode, problemTypes } from '@zerda/contracts/problems';

/** Details of one failure. */
export interface FailureOptions {
  /** Explanation of this occurrence. The caller sees it: no secrets, no SQL. */
  readonly detail?: string;
  /** Invalid members of the request. */
  readonly errors?: readonly FieldError[];
  /** Seconds after which a retry can succeed. */
  readonly retryAfterSeconds?: number;
  /** Authentication challenge (RFC 9110, section 11.3): the scheme and its parameters. */
  readonly challenge?: string;
  /** Methods that the path supports. */
  readonly allowedMethods?: readonly string[];
  /** Current version of the resource. */
  readonly version?: number;
  /** Underlying error; it is logged and never sent to the caller. */
  readonly cause?: unknown;
}

/**
 * An error that is reported to the caller, identified by a problem type. Domain and store code throws it and stays independent of HTTP;
 * `problem-response.ts` maps it to a status and headers. Any other error becomes a 500.
 */
export class Failure extends Error {
  readonly code: ProblemCode;
  readonly detail: string | undefined;
  readonly errors: readonly FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly challenge: string | undefined;
  readonly allowedMethods: readonly string[] | undefined;
  readonly version: number | undefined;

  constructor(code: ProblemCode, options: FailureOptions = {}) {
    super(options.detail ?? problemTypes[code].title, { cause: options.cause });
    this.name = 'Failure';
    this.code = code;
    this.detail = options.detail;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.challenge = options.challenge;
    this.allowedMethods = options.allowedMethods;
    this.version = options.version;
  }
}
