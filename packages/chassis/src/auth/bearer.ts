import { Failure } from '../failure.ts';

/** Names what the tokens are for; the same for all services, for a token is good at each of them. */
const realm = 'realm="zerda"';

/** Characters of a token that are read; what is longer cannot be one of ours. */
const longestToken = 8192;

/** `Authorization: Bearer` with a token of RFC 6750, section 2.1. */
const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i;

/**
 * The token of an `Authorization` header; undefined when there is no header.
 * @throws Failure `unauthenticated` for a header that holds no such token
 */
export function bearerTokenOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const token = header.length <= longestToken + 16 ? bearer.exec(header)?.[1] : undefined;
  if (token === undefined) throw invalidToken('The Authorization header does not hold a bearer token.');
  return token;
}

/** Headers that ask for a token (RFC 6750, section 3): for every answer with 401. */
export const challenge = { 'WWW-Authenticate': `Bearer ${realm}` } as const;

/** Refuses a request that says nothing of who asks. */
export function unauthenticated(): Failure {
  return new Failure('unauthenticated', { headers: challenge });
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
