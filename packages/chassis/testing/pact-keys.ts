import { importJWK, SignJWT } from 'jose';
import { z } from 'zod';
import type { Caller } from '../src/auth/caller.ts';
import { type OpenVerifierOptions, openVerifier } from '../src/auth/open-verifier.ts';
import { authVariables } from '../src/config/auth-variables.ts';
import { loadConfig } from '../src/config/load-config.ts';
import { silentLogger, testMetrics } from './observed.ts';
import type { PactSuite } from './pact-consumer.ts';

/** Public test key of RFC 8037, appendix A. Pacts must not contain random values. */
const publicKey = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
};
const privateKey = { ...publicKey, d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A' };
const kid = 'pact';

/** Returns what a verifier of access tokens needs of a JWKS. */
export function expectedKeys({ matchers }: Pick<PactSuite, 'matchers'>): object {
  return {
    keys: matchers.eachLike({
      ...publicKey,
      x: matchers.regex(/^[\w-]{43}$/, publicKey.x),
      kid: matchers.regex(/^[\w-]+$/, kid),
      alg: 'EdDSA',
    }),
  };
}

/** Verifies a token of user 7 with the keys from these URLs, as a service does. @throws Failure if the keys are of no use */
export async function verifyToken(
  urls: Pick<OpenVerifierOptions, 'userServiceUrl' | 'copyUrl'>,
): Promise<Caller> {
  const config = loadConfig(z.object(authVariables()), {});
  const { authentication } = openVerifier({
    config,
    logger: silentLogger(),
    metrics: testMetrics(),
    ...urls,
  });
  if (authentication === 'off') throw new Error('authentication is off');
  const token = await new SignJWT({ role: 'user', user_id: 7 })
    .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'at+jwt' })
    .setIssuer(config.AUTH_ISSUER)
    .setAudience(config.AUTH_AUDIENCE)
    .setSubject('7')
    .setExpirationTime('1m')
    .sign(await importJWK(privateKey, 'EdDSA'));
  return authentication.verify(token);
}
