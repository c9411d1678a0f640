import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { StoredUser } from '../store/tables.ts';
import type { SigningKeys } from './signing-keys.ts';

/** Signs access tokens. */
export interface AccessTokens {
  /** Seconds that one is good for. */
  readonly seconds: number;
  /** Names of the claims that say what the user may do, and which user it is. */
  readonly claims: readonly [role: string, userId: string];
  /**
   * Finds the key to sign with, and returns what signs: nothing need be done for a token that could not be given.
   * @throws Failure `identity-unavailable` when there is no key
   */
  prepare(): Promise<SignFor>;
}

/** Signs the access token of a user. */
export type SignFor = (user: Pick<StoredUser, 'id' | 'role'>) => Promise<string>;

export interface AccessTokensOptions {
  readonly keys: Pick<SigningKeys, 'current'>;
  readonly issuer: string;
  readonly audience: string;
  readonly seconds: number;
  /** Names of the claims with the role and the id, as verifiers read them. */
  readonly claims: { readonly role: string; readonly userId: string };
  /** What an admin's role is called in the claim. */
  readonly adminRole: string;
}

/** Claims of an access token are those of RFC 9068; what a user may do is their role at this moment. */
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
