import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Caller } from './caller.ts';
import { createKeySet } from './key-set.ts';
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts';

/** An issuer of access tokens for tests. */
export interface TestIssuer {
  readonly verifier: TokenVerifier;
  /** Its public keys, as an issuer publishes them. */
  readonly keySet: { readonly keys: object[] };
  /** A token that the verifier takes, unless the claims say otherwise. */
  token(caller: Partial<Caller>, claims?: { readonly [name: string]: unknown }): Promise<string>;
}

const issuer = 'https://issuer.test';
const audience = 'zerda';

/** Makes an issuer with a key of its own, and a verifier that knows it. */
export async function createTestIssuer(): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  const keySet = { keys: [{ ...(await exportJWK(publicKey)), kid: 'test', alg: 'EdDSA' }] };
  return {
    verifier: createTokenVerifier({
      keys: createKeySet({ load: async () => keySet }),
      issuer,
      audience,
    }),
    keySet,
    token({ subject, userId, role = 'user' }, claims = {}) {
      return new SignJWT({
        ...{ iss: issuer, aud: audience, sub: subject ?? `test|${userId}`, role, user_id: userId },
        exp: Math.floor(Date.now() / 1000) + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'test', typ: 'at+jwt' })
        .sign(privateKey);
    },
  };
}
