import type { JWTPayload } from 'jose';

/**
 * Token types that can be allowed: `at+jwt` (RFC 9068, section 2.1), and `JWT` for issuers that do not set `at+jwt`. `at+jwt` identifies
 * an access token. With `JWT`, only the claims distinguish an access token from an ID, refresh or logout token.
 */
export const tokenTypes = ['at+jwt', 'JWT'] as const;

export type TokenType = (typeof tokenTypes)[number];

/** Returns whether a verified JWT is an access token, by its `typ` and claims. @param allowed accepted types */
export function isAccessToken(typ: unknown, claims: JWTPayload, allowed: readonly TokenType[]): boolean {
  const type = normalizeType(typ);
  if (type === 'at+jwt') return allowed.includes('at+jwt');
  return type === 'jwt' && allowed.includes('JWT') && !hasClaimsOfOtherTokens(claims);
}

/** Returns the media type in lower case, without `application/` (RFC 7515, section 4.1.9). A missing type means `jwt`. */
function normalizeType(typ: unknown): string | undefined {
  if (typ === undefined) return 'jwt';
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
}

/**
 * Claims that access tokens never have: the hashes of an ID token (OpenID Connect Core 1.0, section 3.3.2.11; FAPI 1.0 for `s_hash`) and
 * the events of a security event token such as a logout token (RFC 8417, section 2.2).
 */
const otherTokenClaims = ['at_hash', 'c_hash', 's_hash', 'events'] as const;

/**
 * Returns whether the claims show that an untyped JWT is not an access token. `azp`, `sid`, `auth_time`, `acr` and `amr` are no
 * evidence, because access tokens have them too. Some issuers state the kind in a claim: `typ` in Keycloak, `token_use` in Amazon
 * Cognito. `nonce` belongs to ID tokens. Older releases of Keycloak also copy it into access tokens, with the claim `typ` set to `Bearer`.
 */
function hasClaimsOfOtherTokens(claims: JWTPayload): boolean {
  const { typ: kind, token_use: use, nonce } = claims;
  if (otherTokenClaims.some((name) => Object.hasOwn(claims, name))) return true;
  if (use !== undefined && use !== 'access') return true;
  if (kind === undefined) return nonce !== undefined;
  return kind !== 'Bearer' && kind !== 'DPoP';
}
