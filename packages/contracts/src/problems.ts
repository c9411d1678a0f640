import { z } from 'zod';

interface ProblemDefinition {
  /** HTTP status that answers of this type carry. */
  readonly status: number;
  /** One short sentence, the same for every occurrence (RFC 9457, section 3.1.3). */
  readonly title: string;
  /** What it means for the caller and what to do about it. */
  readonly description: string;
  /**
   * False for a 5xx that concerns one kind of request while the service that sends it works: a circuit breaker does not count it
   * as a failure, and the call is not retried at another address. Default: true for every 5xx.
   */
  readonly serviceFailure?: false;
}

const definitions = {
  'invalid-request': {
    status: 400,
    title: 'The request is malformed',
    description:
      'The body is not JSON in UTF-8, a number in it has more digits than a double-precision number holds, or a path, query or header value is not of the form the API documents. Correct the request; repeating it unchanged gives the same answer.',
  },
  unauthenticated: {
    status: 401,
    title: 'The request does not say who asks',
    description:
      'It has no access token, or one that is not valid: malformed, expired, of another issuer or for another audience. Send `Authorization: Bearer` with a new one.',
  },
  'login-failed': {
    status: 401,
    title: 'Nobody has this e-mail address and password',
    description:
      'One of the two is wrong, or the user has no password. Which of these it is, is not told; the answer takes the same time.',
  },
  'session-ended': {
    status: 401,
    title: 'The refresh token is not good any more',
    description:
      'It is unknown, expired or revoked, or was used before, which has revoked all that were made from it. Log in again.',
  },
  forbidden: {
    status: 403,
    title: 'The caller may not do this',
    description:
      'The access token is valid, but not for this: it is for admins, or concerns another user. Another token of the same user does not help.',
  },
  'not-found': {
    status: 404,
    title: 'No such resource',
    description: 'No route of this service has that path.',
  },
  'user-not-found': { status: 404, title: 'No such user', description: 'No user has that id.' },
  'order-not-found': { status: 404, title: 'No such order', description: 'No order has that id.' },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    description: 'The path exists, but not with this method. The Allow header lists those it has.',
  },
  'request-timeout': {
    status: 408,
    title: 'The request did not come in time',
    description: 'Its body stopped coming before its end. Nothing was carried out that needs all of it.',
  },
  'email-taken': {
    status: 409,
    title: 'E-mail address already in use',
    description: 'Another user has this e-mail address; letter case does not make it a different one.',
  },
  'invalid-transition': {
    status: 409,
    title: 'The order cannot take that status',
    description:
      'Orders go pending, processing, shipped, completed; a pending or processing order may be cancelled. Nothing else is allowed, and nothing was changed.',
  },
  'idempotency-key-in-use': {
    status: 409,
    title: 'A request with this Idempotency-Key is still running',
    description:
      'The first request with this key had not ended within the time this one could wait. Repeat it, with the same key, after Retry-After seconds.',
  },
  'precondition-failed': {
    status: 412,
    title: 'The resource has changed',
    description:
      'If-Match names another version than the current one, or If-None-Match names the current one. Read the resource again and decide anew.',
  },
  'payload-too-large': {
    status: 413,
    title: 'The body is too large',
    description: 'The services read bodies of up to 100 KiB; the gateway takes what its route allows.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body has an unsupported type',
    description:
      'Send JSON: Content-Type: application/json, in UTF-8 and without a content coding the service does not know.',
  },
  'expectation-failed': {
    status: 417,
    title: 'The expectation cannot be met',
    description: 'The gateway knows no other expectation than Expect: 100-continue.',
  },
  'validation-failed': {
    status: 422,
    title: 'The body does not fit the schema',
    description: 'The list in "errors" names each member that is missing, unknown or out of bounds.',
  },
  'unknown-user': {
    status: 422,
    title: 'The order names a user who does not exist',
    description: 'No user has the id in user_id. Nothing was stored.',
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'The Idempotency-Key was used for another body',
    description: 'A key stands for one request. Take a new key for a new request.',
  },
  'login-throttled': {
    status: 429,
    title: 'Too many attempts to log in',
    description:
      'Too many passwords were tried or set, or e-mail addresses changed or signed up, from this address or for this account. Nothing was checked or changed. Try again after Retry-After seconds.',
  },
  'rate-limited': {
    status: 429,
    title: 'Too many requests',
    description:
      'The caller, or the address it asks from, has made as many requests as this route takes in this time, or all callers have. RateLimit says how it stands. Repeat the request after Retry-After seconds.',
  },
  'too-many-headers': {
    status: 431,
    title: 'The request has too many headers',
    description:
      'More than anybody needs. The gateway takes 256, and 16 KiB of request line and headers together.',
  },
  'internal-error': {
    status: 500,
    title: 'Something went wrong',
    description: 'A fault of the service. Its log has the cause under the correlation_id of this answer.',
  },
  'upgrade-unsupported': {
    status: 501,
    title: 'Upgrade is not supported',
    description: 'The gateway does not change to another protocol, such as WebSocket.',
  },
  'upstream-failed': {
    status: 502,
    title: 'A service behind the gateway failed',
    description: 'The connection was refused or broke, or the answer made no sense.',
  },
  overloaded: {
    status: 503,
    title: 'The gateway has too much to do',
    description:
      'Nothing was done with the request, so that those that were begun can be finished. Repeat it after Retry-After seconds.',
  },
  'upstream-unavailable': {
    status: 503,
    title: 'A service behind the gateway is unavailable',
    description:
      'Its circuit breaker is open because recent calls failed, or its name leads to no address; it was not called. Retry-After says when the next attempt is let through.',
  },
  'upstream-overloaded': {
    status: 503,
    title: 'A service behind the gateway has too much to do',
    description:
      'As many calls to it as are allowed are running; it was not called. Repeat the request after Retry-After seconds.',
  },
  'identity-unavailable': {
    status: 503,
    title: 'Who asks cannot be found out now',
    description:
      'The keys that access tokens are checked against could not be had from their issuer. The token may well be valid. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'login-overloaded': {
    status: 503,
    title: 'Too many passwords are being checked',
    description:
      'The queue of logins or of new passwords is full, and nothing was done. Other requests are not affected. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'dependency-unavailable': {
    status: 503,
    title: 'Another service, needed for this request, did not answer',
    description: 'Nothing was stored. Repeat the request after Retry-After seconds.',
    serviceFailure: false,
  },
  'database-unavailable': {
    status: 503,
    title: 'The database did not answer',
    description:
      'Nothing was acknowledged. Repeat the request after Retry-After seconds, a POST with the same Idempotency-Key.',
  },
  'upstream-timeout': {
    status: 504,
    title: 'A service behind the gateway did not answer in time',
    description: 'Whether it carried the request out is not known. Safe methods can be repeated at once.',
  },
  'deadline-exceeded': {
    status: 504,
    title: 'The deadline passed',
    description: 'The time the caller gave in X-Request-Timeout-Ms, or the service allows, was over first.',
  },
} as const satisfies Record<string, ProblemDefinition>;

/** The stable name of a kind of error; the last segment of the answer's `type`. */
export type ProblemCode = keyof typeof definitions;

/** Every kind of error any service answers, by its code: the one table that code, OpenAPI and docs share. */
export const problemTypes: Readonly<Record<ProblemCode, ProblemDefinition>> = definitions;

/** All codes, in the table's order. */
export const problemCodes = Object.keys(definitions) as readonly ProblemCode[];

const typePrefix = '/problems/';

/** The `type` member of a problem (RFC 9457, section 3.1.1): a path that the gateway answers with a description. */
export function problemType(code: ProblemCode): string {
  return typePrefix + code;
}

/** The code that a `type` member stands for; undefined for one that is not in the table. */
export function problemCodeOf(type: string): ProblemCode | undefined {
  const code = type.startsWith(typePrefix) ? type.slice(typePrefix.length) : '';
  return Object.hasOwn(definitions, code) ? (code as ProblemCode) : undefined;
}

/**
 * Whether a response is a failure of the service that sent it: a 5xx of any type but those with `serviceFailure: false`.
 * @param code type of the problem, as the `X-Problem` header names it; undefined when there is none
 */
export function isServiceFailure(status: number, code: string | undefined): boolean {
  if (status < 500) return false;
  const known: ProblemDefinition | undefined =
    code !== undefined && Object.hasOwn(definitions, code) ? definitions[code as ProblemCode] : undefined;
  return known?.serviceFailure !== false;
}

/** One member of the request that does not fit. */
export const fieldError = z
  .strictObject({
    path: z.string().describe('Where it is: names and indexes joined by dots; empty for the whole.'),
    message: z.string().describe('What is wrong with it.'),
  })
  .meta({ id: 'FieldError' });

export type FieldError = z.infer<typeof fieldError>;

/** The body of every error answer: RFC 9457 problem details with the correlation id of the request. */
export const problemDetails = z
  .strictObject({
    type: z.string().describe('The kind of problem, a path that describes it.'),
    title: z.string().describe('The kind of problem in one sentence.'),
    status: z.int().min(400).max(599).describe('The HTTP status, repeated.'),
    detail: z.string().optional().describe('What happened this time.'),
    instance: z.string().optional().describe('The path of the request.'),
    correlation_id: z.string().describe('The id under which the logs of all services have this request.'),
    errors: z.array(fieldError).optional().describe('Each member that does not fit.'),
  })
  .meta({ id: 'Problem' });

export type ProblemDetails = z.infer<typeof problemDetails>;
