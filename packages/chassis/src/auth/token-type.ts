import type { JWTPayload } from 'jose';

/**
 * Types of access tokens that can be allowed: `at+jwt`, which RFC 9068, section 2.1 defines, and `JWT` for issuers that do not set it.
 * `at+jwt` identifies an access token; with `JWT`, only the claims distinguish it from an ID, refresh or logout token.
 */
export const tokenTypes = ['at+jwt', 'JWT'] as const;

export type TokenType = (typeof tokenTypes)[number];

/** Whether the `typ` of a verified JWT and its claims are those of an access token. @param allowed which types are accepted */
export function isAccessToken(typ: unknown, claims: JWTPayload, allowed: readonly TokenType[]): boolean {
  const type = typeOf(typ);
  if (type === 'at+jwt') return allowed.includes('at+jwt');
  return type === 'jwt' && allowed.includes('JWT') && !isOfAnotherKind(claims);
}

/** The media type without `application/`, in lower case (RFC 7515, section 4.1.9); no type is that of any JWT. */
function typeOf(typ: unknown): string | undefined {
  if (typ === undefined) return 'jwt';
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
}

/**
 * Claims that no access token has: the hashes of an ID token (OpenID Connect Core 1.0, section 3.3.2.11; FAPI 1.0 for `s_hash`) and
 * the events of a security event token (RFC 8417, section 2.2), which logout tokens are.
 */
const foreignClaims = ['at_hash', 'c_hash', 's_hash', 'events'] as const;

/**
 * Whether the claims show that an untyped JWT is no access token. `azp`, `sid`, `auth_time`, `acr` and `amr` show nothing: access tokens
 * have them, too. Some issuers state the kind in a claim: `typ` of Keycloak, `token_use` of Amazon Cognito. `nonce` belongs to ID tokens;
 * older releases of Keycloak copy it into access tokens as well, and set their claim `typ` to `Bearer`.
 */
function isOfAnotherKind(claims: JWTPayload): boolean {
  const { typ: kind, token_use: use, nonce } = claims;
  if (foreignClaims.some((name) => Object.hasOwn(claims, name))) return true;
  if (use !== undefined && use !== 'access') return true;
  if (kind === undefined) return nonce !== undefined;
  return kind !== 'Bearer' && kind !== 'DPoP';
}
