import { hash as digest } from 'node:crypto';
import { largestId } from '@zerda/contracts/protocol/values';
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
} from 'jose';
import { Failure } from '../failure.ts';
import { invalidToken } from './bearer.ts';
import type { Caller } from './caller.ts';
import { isAccessToken, type TokenType } from './token-type.ts';

/** Signature algorithms that can be allowed. Algorithms with a shared secret and `none` are excluded (RFC 8725, section 3.1). */
export const tokenAlgorithms = ['EdDSA', 'ES256', 'RS256', 'PS256'] as const;

export type TokenAlgorithm = (typeof tokenAlgorithms)[number];

/** Verifies access tokens. */
export interface TokenVerifier {
  /**
   * Returns the caller that an access token identifies.
   * @param token a signed JWT
   * @throws Failure `unauthenticated` if the token is invalid, `identity-unavailable` if the keys are unavailable
   */
  verify(token: string): Promise<Caller>;
}

export interface TokenVerifierOptions {
  /** Finds the verification key of a token. */
  readonly keys: JWTVerifyGetKey;
  /** Required issuer (`iss`). */
  readonly issuer: string;
  /** Required audience (`aud`). */
  readonly audience: string;
  /** Accepted signature algorithms; EdDSA by default, which user-service uses. */
  readonly algorithms?: readonly TokenAlgorithm[];
  /** Accepted token types; `at+jwt` by default. */
  readonly types?: readonly TokenType[];
  /** Claim with the role or roles: a name or a dot-separated path; `role` by default. */
  readonly roleClaim?: string;
  /** Role of admins; `admin` by default. */
  readonly adminRole?: string;
  /** Claim with the id of the user in user-service: a name or a dot-separated path; `user_id` by default. */
  readonly userIdClaim?: string;
  /** Allowed clock difference between issuer and verifier in seconds; 5 by default. */
  readonly clockSkewSeconds?: number;
}

/** Milliseconds that a verified token is cached. They add to the maximum age of keys: see `maxAgeMs` of the key set. */
const cacheTtlMs = 30_000;
/** Maximum number of cached tokens; the oldest is evicted first. */
const maxCached = 10_000;

interface CachedToken {
  readonly caller: Caller;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * Creates a verifier of access tokens (RFC 9068, section 4; RFC 8725). It checks the signature, the algorithm, the type, the issuer, the
 * audience, `exp`, `nbf` and `sub`. Verified tokens are cached by their hash for 30 seconds, but not after they expire.
 */
export function createTokenVerifier({
  keys,
  issuer,
  audience,
  algorithms = ['EdDSA'],
  types = ['at+jwt'],
  roleClaim = 'role',
  adminRole = 'admin',
  userIdClaim = 'user_id',
  clockSkewSeconds = 5,
}: TokenVerifierOptions): TokenVerifier {
  const cache = new Map<string, CachedToken>();

  function store(hash: string, caller: Caller, tokenExpiresAt: number): void {
    const expiresAt = Math.min(Date.now() + cacheTtlMs, tokenExpiresAt);
    if (cache.size >= maxCached) cache.delete(cache.keys().next().value ?? '');
    cache.set(hash, { caller, expiresAt });
  }

  function callerOf(claims: JWTPayload): Caller {
    // The library checks only that the claim is present (RFC 7519, section 4.1.2).
    const sub: unknown = claims.sub;
    if (typeof sub !== 'string' || sub === '') throw invalidToken('The access token has no valid subject.');
    const roles = [claimOf(claims, roleClaim)].flat();
    return {
      subject: sub,
      userId: userIdOf(claimOf(claims, userIdClaim)),
      role: roles.includes(adminRole) ? 'admin' : 'user',
    };
  }

  return {
    async verify(token) {
      const hash = digest('sha256', token, 'base64');
      const cached = cache.get(hash);
      if (cached !== undefined) {
        if (Date.now() < cached.expiresAt) return cached.caller;
        cache.delete(hash);
      }
      const { payload, protectedHeader } = await verifyWithAny(token, keys, {
        issuer,
        audience,
        algorithms: [...algorithms],
        clockTolerance: clockSkewSeconds,
        requiredClaims: ['exp', 'sub'],
      }).catch((error: unknown) => {
        throw error instanceof Failure ? error : invalidToken(reasonOf(error));
      });
      if (!isAccessToken(protectedHeader.typ, payload, types))
        throw invalidToken('The token type is not accepted as an access token.');
      const caller = Object.freeze(callerOf(payload));
      store(hash, caller, (payload.exp ?? 0) * 1000);
      return caller;
    },
  };
}

/** Maximum number of keys that are tried for one token, since each one costs a verification. */
const maxKeysTried = 8;

/**
 * Verifies a token. If several keys match its header, because it has no key id or the id is ambiguous, each is tried (RFC 7515,
 * appendix D).
 */
async function verifyWithAny(
  token: string,
  keys: JWTVerifyGetKey,
  options: JWTVerifyOptions,
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, keys, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    let tried = 0;
    for await (const key of error) {
      tried += 1;
      if (tried > maxKeysTried) break;
      try {
        return await jwtVerify(token, key, options);
      } catch (keyError) {
        // Any other error means that the signature is valid and the token is not.
        if (!(keyError instanceof errors.JWSSignatureVerificationFailed)) throw keyError;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** Returns the problem detail of a verification error, without any part of the token. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The access token has expired.';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `The access token has an invalid ${claimNames.get(error.claim) ?? 'claim'}.`;
  return 'The access token is invalid.';
}

const claimNames = new Map([
  ['iss', 'issuer'],
  ['aud', 'audience'],
  ['nbf', 'start time'],
]);

/** Returns the claim with this name; otherwise reads the name as a dot-separated path, because some issuers nest roles. */
function claimOf(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Parses a user id. Some issuers write numbers as strings. */
function userIdOf(value: unknown): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined;
  if (!/^[1-9][0-9]{0,9}$/.test(String(value)) || Number(value) > largestId) return undefined;
  return Number(value);
}
