import { Failure } from '../failure.ts';

/** All services share one realm, since they accept the same tokens. */
const realm = 'realm="zerda"';

/** Maximum length of a token in characters. */
const maxTokenLength = 8192;

/** An `Authorization` value with a bearer token (RFC 6750, section 2.1). */
const bearerPattern = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i;

/** An `Authorization` value with another scheme, or none. */
const otherSchemePattern = /^(?!Bearer(?: |$))/i;

/**
 * Returns the token of an `Authorization` header; undefined if there is no header.
 * @throws Failure `unauthenticated` if the header does not hold a bearer token
 */
export function bearerTokenOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  // RFC 6750, section 3.1: the challenge for a request without a bearer token has no error code.
  if (otherSchemePattern.test(header))
    throw unauthenticated('The Authorization header must use the Bearer scheme.');
  if (header.length > maxTokenLength + 16)
    throw invalidToken(`The access token is longer than ${maxTokenLength} characters.`);
  const token = bearerPattern.exec(header)?.[1];
  if (token === undefined) throw invalidToken('The Authorization header does not hold a bearer token.');
  if (token.length > maxTokenLength)
    throw invalidToken(`The access token is longer than ${maxTokenLength} characters.`);
  return token;
}

/** Challenge of a 401 response without an error code (RFC 6750, section 3). */
export const challenge = `Bearer ${realm}`;

/** Creates the failure of a request without an access token (401). @param detail problem detail; none by default */
export function unauthenticated(detail?: string): Failure {
  return new Failure('unauthenticated', { ...(detail !== undefined && { detail }), challenge });
}

/**
 * Creates the failure of a request with an invalid access token (401).
 * @param detail reason, without any part of the token
 */
export function invalidToken(detail: string, cause?: unknown): Failure {
  return new Failure('unauthenticated', {
    detail,
    challenge: `Bearer ${realm}, error="invalid_token", error_description="${detail}"`,
    cause,
  });
}

/** Creates the failure of a request that the caller is not permitted to make (403). @param detail problem detail; none by default */
export function forbidden(detail?: string): Failure {
  return new Failure('forbidden', {
    ...(detail !== undefined && { detail }),
    challenge: `Bearer ${realm}, error="insufficient_scope"`,
  });
}
