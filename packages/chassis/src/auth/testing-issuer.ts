import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Caller } from './caller.ts';
import { createKeySet } from './key-set.ts';
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts';

/** An issuer of access tokens for tests. */
export interface TestIssuer {
  readonly verifier: TokenVerifier;
  /** Its public keys, as an issuer publishes them. */
  readonly keySet: { readonly keys: object[] };
  /**
   * A token that the verifier takes, unless claims or header say otherwise.
   * @param header replaces members of the header; undefined leaves one out
   */
  token(
    caller: Partial<Caller>,
    claims?: { readonly [name: string]: unknown },
    header?: { readonly typ: string | undefined },
  ): Promise<string>;
}

/** Name of the issuer: its `iss`. */
export const testIssuerName = 'https://issuer.test';
const audience = 'zerda';

/** Makes an issuer with a key of its own, and a verifier that knows it. */
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
        ...{ iss: testIssuerName, aud: audience, sub: subject ?? `test|${userId}`, role, user_id: userId },
        exp: Math.floor(Date.now() / 1000) + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'test', ...(typ !== undefined && { typ }) })
        .sign(privateKey);
    },
  };
}
