import { z } from 'zod';

interface ProblemDefinition {
  /** HTTP status of the response. */
  readonly status: number;
  /** Short summary, identical for every occurrence (RFC 9457, section 3.1.3). */
  readonly title: string;
  /** Meaning of the problem and what the caller can do about it. */
  readonly description: string;
  /**
   * False for a 5xx that affects one kind of request while the rest of the service works. Circuit breakers do not count it
   * as a failure, and the call is not retried at another address. Default: true for every 5xx.
   */
  readonly serviceFailure?: false;
}

const definitions = {
  'invalid-request': {
    status: 400,
    title: 'Malformed request',
    description:
      'The body is not JSON in UTF-8, a number in it exceeds double precision, or a path, query or header value has the wrong format. Correct the request before you send it again.',
  },
  unauthenticated: {
    status: 401,
    title: 'Authentication required',
    description:
      'The access token is missing, malformed or expired, or was issued by another issuer or for another audience. Send a valid token in the Authorization header (Bearer).',
  },
  'login-failed': {
    status: 401,
    title: 'Invalid e-mail address or password',
    description:
      'The e-mail address is unknown, the password is wrong, or the user has no password. The response and its duration do not reveal which.',
  },
  'session-ended': {
    status: 401,
    title: 'Invalid refresh token',
    description:
      'The refresh token is unknown, expired, revoked or already used. Reuse revokes every token of the session. Log in again.',
  },
  forbidden: {
    status: 403,
    title: 'Permission denied',
    description:
      'The access token is valid, but the operation requires the role admin or concerns another user. Another token of the same user does not help.',
  },
  'not-found': {
    status: 404,
    title: 'Path not found',
    description: 'No route of the service matches the path.',
  },
  'user-not-found': {
    status: 404,
    title: 'User not found',
    description: 'No user has the id in the path.',
  },
  'order-not-found': {
    status: 404,
    title: 'Order not found',
    description: 'No order has the id in the path, or the order belongs to another user.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    description: 'The path does not support the method. The Allow header lists the supported methods.',
  },
  'request-timeout': {
    status: 408,
    title: 'Request timeout',
    description:
      'The rest of the request body did not arrive in time. No operation that requires the complete body was carried out.',
  },
  'email-taken': {
    status: 409,
    title: 'E-mail address already in use',
    description: 'Another user has this e-mail address. The comparison ignores letter case.',
  },
  'invalid-transition': {
    status: 409,
    title: 'Invalid status transition',
    description:
      'An order moves from pending to processing, shipped and completed, in this order. Only a pending or processing order can be canceled. The order is unchanged.',
  },
  'idempotency-key-in-use': {
    status: 409,
    title: 'A request is outstanding for this Idempotency-Key',
    description:
      'The first request with this key is still in progress. Repeat the request with the same key after Retry-After seconds.',
  },
  'precondition-failed': {
    status: 412,
    title: 'Precondition failed',
    description:
      'The current version does not match If-Match, or it matches If-None-Match. Read the resource again before you change it.',
  },
  'payload-too-large': {
    status: 413,
    title: 'Request body too large',
    description:
      'The services accept request bodies of up to 100 KiB. The gateway enforces the limit of the route.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'Unsupported media type',
    description:
      'Send JSON in UTF-8 with Content-Type: application/json. Content codings that the service does not support are rejected.',
  },
  'expectation-failed': {
    status: 417,
    title: 'Expectation failed',
    description: 'The gateway supports no expectation other than Expect: 100-continue.',
  },
  'validation-failed': {
    status: 422,
    title: 'Validation failed',
    description:
      'The request body does not match the schema. The errors list contains each member that is missing, unknown or invalid.',
  },
  'unknown-user': {
    status: 422,
    title: 'Unknown user',
    description: 'No user has the id in user_id. The order was not stored.',
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'Idempotency-Key is already used',
    description: 'An earlier request used this key with another body. Use a new key for each new request.',
  },
  'login-throttled': {
    status: 429,
    title: 'Too many login attempts',
    description:
      'The client address or the account exceeded the limit for logins, sign-ups, password changes and e-mail address changes. The request was not processed. Repeat it after Retry-After seconds.',
  },
  'rate-limited': {
    status: 429,
    title: 'Too many requests',
    description:
      'The caller, its address or all callers together exceeded the rate limit of the route. RateLimit contains the remaining quota. Repeat the request after Retry-After seconds.',
  },
  'too-many-headers': {
    status: 431,
    title: 'Request header fields too large',
    description:
      'The gateway accepts up to 256 header fields and 16 KiB for the request line and headers together.',
  },
  'internal-error': {
    status: 500,
    title: 'Internal server error',
    description:
      'An unexpected error occurred in the service. The log entry with this correlation_id contains the cause.',
  },
  'upgrade-unsupported': {
    status: 501,
    title: 'Upgrade not supported',
    description: 'The gateway does not switch to other protocols, such as WebSocket.',
  },
  'upstream-failed': {
    status: 502,
    title: 'Upstream request failed',
    description:
      'The connection to the service was refused or closed, or the service sent an invalid response.',
  },
  overloaded: {
    status: 503,
    title: 'Gateway overloaded',
    description:
      'The gateway is at its concurrency limit and rejected the request. Repeat it after Retry-After seconds.',
  },
  'upstream-unavailable': {
    status: 503,
    title: 'Upstream service unavailable',
    description:
      'The circuit breaker of the service is open, or its name does not resolve. The service was not called. Repeat the request after Retry-After seconds.',
  },
  'upstream-overloaded': {
    status: 503,
    title: 'Upstream service overloaded',
    description:
      'The limit of concurrent calls to the service is reached. The service was not called. Repeat the request after Retry-After seconds.',
  },
  'identity-unavailable': {
    status: 503,
    title: 'Identity provider unavailable',
    description:
      'The signing keys of the token issuer could not be fetched, so the access token was not verified. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'login-overloaded': {
    status: 503,
    title: 'Password hashing overloaded',
    description:
      'The queue for password hashing is full, and the request was not processed. Other requests are not affected. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'dependency-unavailable': {
    status: 503,
    title: 'Dependency unavailable',
    description:
      'Another service that this request requires did not respond. Nothing was stored. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'database-unavailable': {
    status: 503,
    title: 'Database unavailable',
    description:
      'The database did not respond, and the transaction was not acknowledged. Repeat the request after Retry-After seconds; repeat a POST with the same Idempotency-Key.',
  },
  'upstream-timeout': {
    status: 504,
    title: 'Upstream service timed out',
    description:
      'The service did not respond in time. It may have processed the request. Safe methods can be repeated immediately.',
  },
  'deadline-exceeded': {
    status: 504,
    title: 'Deadline exceeded',
    description:
      'The request took longer than the deadline in X-Request-Timeout-Ms or the time limit of the service.',
  },
} as const satisfies Record<string, ProblemDefinition>;

/** Stable name of a problem type; the last segment of the `type` member. */
export type ProblemCode = keyof typeof definitions;

/** Every problem type of every service, by code. Services, OpenAPI documents and docs use this table. */
export const problemTypes: Readonly<Record<ProblemCode, ProblemDefinition>> = definitions;

/** All codes, in the order of the table. */
export const problemCodes = Object.keys(definitions) as readonly ProblemCode[];

const typePrefix = '/problems/';

/** Returns the `type` member (RFC 9457, section 3.1.1): a path at which the gateway serves the description. */
export function problemType(code: ProblemCode): string {
  return typePrefix + code;
}

/** Returns the code of a `type` member; undefined for a type that is not in the table. */
export function problemCodeOf(type: string): ProblemCode | undefined {
  const code = type.startsWith(typePrefix) ? type.slice(typePrefix.length) : '';
  return Object.hasOwn(definitions, code) ? (code as ProblemCode) : undefined;
}

/**
 * Returns whether a response counts as a failure of its service: any 5xx except types with `serviceFailure: false`.
 * @param code value of the `X-Problem` header; undefined if the response has none
 */
export function isServiceFailure(status: number, code: string | undefined): boolean {
  if (status < 500) return false;
  const known: ProblemDefinition | undefined =
    code !== undefined && Object.hasOwn(definitions, code) ? definitions[code as ProblemCode] : undefined;
  return known?.serviceFailure !== false;
}

/** One invalid member of a request. */
export const fieldError = z
  .strictObject({
    path: z.string().describe('Member names and array indexes joined by dots; empty for the whole value.'),
    message: z.string().describe('Rule that the value violates.'),
  })
  .meta({ id: 'FieldError', description: 'Path and error of one invalid member of the request.' });

export type FieldError = z.infer<typeof fieldError>;

/** Body of every error response: RFC 9457 problem details with the correlation id of the request. */
export const problemDetails = z
  .strictObject({
    type: z.string().describe('Problem type: a path at which the gateway serves its description.'),
    title: z.string().describe('Summary of the problem type.'),
    status: z.int().min(400).max(599).describe('HTTP status of the response.'),
    detail: z.string().optional().describe('Explanation of this occurrence.'),
    instance: z.string().optional().describe('Path of the request.'),
    correlation_id: z.string().describe('Id of the request in the logs of all services.'),
    trace_id: z.string().optional().describe('Id of the trace of the request (W3C Trace Context).'),
    errors: z.array(fieldError).optional().describe('Invalid members of the request.'),
  })
  .meta({
    id: 'Problem',
    description: 'Problem details (RFC 9457) with the correlation id of the request.',
  });

export type ProblemDetails = z.infer<typeof problemDetails>;
