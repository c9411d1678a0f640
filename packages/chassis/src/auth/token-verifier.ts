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

/** Ways of signing that can be allowed: none with a shared secret, and never `none` (RFC 8725, section 3.1). */
export const tokenAlgorithms = ['EdDSA', 'ES256', 'RS256', 'PS256'] as const;

export type TokenAlgorithm = (typeof tokenAlgorithms)[number];

/** Tells who asks. */
export interface TokenVerifier {
  /**
   * @param token an access token: a signed JWT
   * @throws Failure `unauthenticated` for a token that is not valid, `identity-unavailable` when that cannot be known
   */
  verify(token: string): Promise<Caller>;
}

export interface TokenVerifierOptions {
  /** Finds the key that a token names. */
  readonly keys: JWTVerifyGetKey;
  /** Who must have issued the token: its `iss`. */
  readonly issuer: string;
  /** Whom it must be for: among its `aud`. */
  readonly audience: string;
  /** EdDSA by default, as user-service signs. */
  readonly algorithms?: readonly TokenAlgorithm[];
  /** Types of tokens that are accepted; `at+jwt` by default. */
  readonly types?: readonly TokenType[];
  /** Claim with the role or the roles: its name, or a path of names joined by dots; `role` by default. */
  readonly roleClaim?: string;
  /** Value of that claim, or one of its values, that makes an admin; `admin` by default. */
  readonly adminRole?: string;
  /** Claim with the id in user-service, likewise; `user_id` by default. */
  readonly userIdClaim?: string;
  /** Seconds that the clocks of issuer and verifier may differ by; 5 by default. */
  readonly clockSkewSeconds?: number;
}

/** Milliseconds that a verified token is not verified again. They add to the age of keys: see `maxAgeMs` of the key set. */
const keptMs = 30_000;
/** Tokens that are remembered at most; the oldest goes first. */
const mostKept = 10_000;

interface Kept {
  readonly caller: Caller;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/**
 * Verifies access tokens (RFC 9068, section 4; RFC 8725): signature by an allowed algorithm, type, issuer, audience, `exp`, `nbf` and
 * `sub`. A token that was verified is remembered by its hash for a moment, and never beyond its end.
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
  const known = new Map<string, Kept>();

  function keep(hash: string, caller: Caller, expiresAt: number): void {
    const until = Math.min(Date.now() + keptMs, expiresAt);
    if (known.size >= mostKept) known.delete(known.keys().next().value ?? '');
    known.set(hash, { caller, until });
  }

  function callerOf(claims: JWTPayload): Caller {
    // Nothing else is checked of it by the library (RFC 7519, section 4.1.2).
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
      const kept = known.get(hash);
      if (kept !== undefined) {
        if (Date.now() < kept.until) return kept.caller;
        known.delete(hash);
      }
      const { payload, protectedHeader } = await verifyWithAny(token, keys, {
        ...{ issuer, audience, algorithms: [...algorithms] },
        clockTolerance: clockSkewSeconds,
        requiredClaims: ['exp', 'sub'],
      }).catch((error: unknown) => {
        throw error instanceof Failure ? error : invalidToken(reasonOf(error));
      });
      if (!isAccessToken(protectedHeader.typ, payload, types))
        throw invalidToken('The token is not of a type that this service accepts as an access token.');
      const caller = Object.freeze(callerOf(payload));
      keep(hash, caller, (payload.exp ?? 0) * 1000);
      return caller;
    },
  };
}

/** Keys that are tried at most for one token: each costs a verification. */
const maxKeysTried = 8;

/**
 * Verifies a token by its key. Where several keys fit its header, since it names none or an issuer publishes one twice, each is tried
 * (RFC 7515, appendix D).
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
      } catch (failed) {
        // Of another key. Anything else is about the token, whose signature is right.
        if (!(failed instanceof errors.JWSSignatureVerificationFailed)) throw failed;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** For the caller, who has the token: nothing of it is repeated. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The access token has expired.';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `The access token's ${claimNames.get(error.claim) ?? 'claims'} are not as they must be.`;
  return 'The access token is not one that this service takes.';
}

const claimNames = new Map([
  ['iss', 'issuer'],
  ['aud', 'audience'],
  ['nbf', 'times'],
]);

/** The claim of that name; where there is none, what a path of names leads to: issuers nest their roles. */
function claimOf(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Issuers write numbers as text, too. */
function userIdOf(value: unknown): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined;
  if (!/^[1-9][0-9]{0,9}$/.test(String(value)) || Number(value) > largestId) return undefined;
  return Number(value);
}
