import { Failure } from '../failure.ts';

/** Names what the tokens are for; the same for all services, for a token is good at each of them. */
const realm = 'realm="zerda"';

/** Characters of a token that are read; what is longer cannot be one of ours. */
const longestToken = 8192;

/** `Authorization: Bearer` with a token of RFC 6750, section 2.1. */
const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i;

/** Any other scheme than that, or none. */
const otherScheme = /^(?!Bearer(?: |$))/i;

/**
 * The token of an `Authorization` header; undefined when there is no header.
 * @throws Failure `unauthenticated` for a header that holds no such token
 */
export function bearerTokenOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  // RFC 6750, section 3.1: the challenge for a request without a bearer token has no error code.
  if (otherScheme.test(header))
    throw unauthenticated('The Authorization header has another scheme than Bearer.');
  if (header.length > longestToken + 16)
    throw invalidToken(`The access token is longer than ${longestToken} characters.`);
  const token = bearer.exec(header)?.[1];
  if (token === undefined) throw invalidToken('The Authorization header does not hold a bearer token.');
  if (token.length > longestToken)
    throw invalidToken(`The access token is longer than ${longestToken} characters.`);
  return token;
}

/** Headers that ask for a token (RFC 6750, section 3): for every answer with 401. */
export const challenge = { 'WWW-Authenticate': `Bearer ${realm}` } as const;

/** Refuses a request without an access token. @param detail what it has instead; none by default */
export function unauthenticated(detail?: string): Failure {
  return new Failure('unauthenticated', { ...(detail !== undefined && { detail }), headers: challenge });
}

/**
 * Refuses a token.
 * @param detail what is wrong with it: no part of the token
 */
export function invalidToken(detail: string, cause?: unknown): Failure {
  return new Failure('unauthenticated', {
    detail,
    headers: {
      'WWW-Authenticate': `Bearer ${realm}, error="invalid_token", error_description="${detail}"`,
    },
    cause,
  });
}

/** Refuses what the caller, whom the token names, may not do. */
export function forbidden(detail?: string): Failure {
  return new Failure('forbidden', {
    ...(detail !== undefined && { detail }),
    headers: { 'WWW-Authenticate': `Bearer ${realm}, error="insufficient_scope"` },
  });
}
