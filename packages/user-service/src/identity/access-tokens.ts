import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { User } from '../domain/user.ts';
import type { SigningKeys } from './signing-keys.ts';

/** Signs access tokens. */
export interface AccessTokens {
  /** Lifetime of a token in seconds. */
  readonly seconds: number;
  /** Names of the claims with the role and the user id. */
  readonly claims: readonly [role: string, userId: string];
  /**
   * Reads the signing key and returns the function that signs, so that callers can fail before other work if there is no key.
   * @throws Failure `identity-unavailable` if there is no key
   */
  prepare(): Promise<SignFor>;
}

/** Signs the access token of a user. */
export type SignFor = (user: Pick<User, 'id' | 'role'>) => Promise<string>;

export interface AccessTokensOptions {
  readonly keys: Pick<SigningKeys, 'current'>;
  readonly issuer: string;
  readonly audience: string;
  readonly seconds: number;
  /** Names of the claims with the role and the user id. */
  readonly claims: { readonly role: string; readonly userId: string };
  /** Value of the role claim for admins. */
  readonly adminRole: string;
}

/** Creates access tokens with the claims of RFC 9068 and the current role of the user. */
export function createAccessTokens({
  keys,
  issuer,
  audience,
  seconds,
  claims,
  adminRole,
}: AccessTokensOptions): AccessTokens {
  return {
    seconds,
    claims: [claims.role, claims.userId],
    async prepare() {
      const { kid, privateKey } = await keys.current();
      return ({ id, role }) => {
        const now = Math.floor(Date.now() / 1000);
        return new SignJWT({ [claims.role]: role === 'admin' ? adminRole : role, [claims.userId]: id })
          .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'at+jwt' })
          .setIssuer(issuer)
          .setAudience(audience)
          .setSubject(String(id))
          .setJti(randomUUID())
          .setIssuedAt(now)
          .setNotBefore(now)
          .setExpirationTime(now + seconds)
          .sign(privateKey);
      };
    },
  };
}
