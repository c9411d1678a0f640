import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Caller } from '../src/auth/caller.ts';
import { createKeySet } from '../src/auth/key-set.ts';
import { createTokenVerifier, type TokenVerifier } from '../src/auth/token-verifier.ts';

/** An issuer of access tokens for tests. */
export interface TestIssuer {
  readonly verifier: TokenVerifier;
  /** Public keys as a JWKS. */
  readonly keySet: { readonly keys: object[] };
  /**
   * Signs a token. The verifier accepts it unless `claims` or `header` make it invalid.
   * @param claims claims to add or replace
   * @param header replaces header members; undefined removes one
   */
  token(
    caller: Partial<Caller>,
    claims?: { readonly [name: string]: unknown },
    header?: { readonly typ: string | undefined },
  ): Promise<string>;
}

/** `iss` of the tokens. */
export const testIssuerName = 'https://issuer.test';
const audience = 'zerda';

/** Creates an issuer with a new key and a verifier that accepts its tokens. */
export async function createTestIssuer(): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  const keySet = { keys: [{ ...(await exportJWK(publicKey)), kid: 'test', alg: 'EdDSA' }] };
  return {
    verifier: createTokenVerifier({
      keys: createKeySet({ load: async () => keySet }),
      issuer: testIssuerName,
      audience,
    }),
    keySet,
    token({ subject, userId, role = 'user' }, claims = {}, { typ } = { typ: 'at+jwt' }) {
      return new SignJWT({
        iss: testIssuerName,
        aud: audience,
        sub: subject ?? `test|${userId}`,
        role,
        user_id: userId,
        exp: Math.floor(Date.now() / 1000) + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'test', ...(typ !== undefined && { typ }) })
        .sign(privateKey);
    },
  };
}
