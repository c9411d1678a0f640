import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { exportJWK, generateKeyPair } from 'jose';
import { type Configuration, Provider } from 'oidc-provider';
import { z } from 'zod';
import { recordingLogger, testMetrics } from '../../testing/observed.ts';
import { freePort } from '../../testing/port.ts';
import { authVariables } from '../config/auth-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { openVerifier } from './open-verifier.ts';
import type { TokenVerifier } from './token-verifier.ts';

const audience = 'https://zerda.example/api';

/** Starts an OpenID Connect provider with a client per role. */
async function startIssuer() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const client = (client_id: string) => ({
    client_id,
    client_secret: 'a secret of this client',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
  const configuration: Configuration = {
    clients: [client('shop-user'), client('shop-boss')],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'external', alg: 'RS256', use: 'sig' }] },
    extraTokenClaims: (_context, token) => {
      const boss = token.clientId === 'shop-boss';
      return { realm_access: { roles: boss ? ['boss', 'clerk'] : ['clerk'] }, shop_user: boss ? '1' : '42' };
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: (_context, resource) => ({
          scope: '',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  };
  const url = `http://127.0.0.1:${await freePort()}`;
  const provider = new Provider(url, configuration);
  const server = createServer(provider.callback());
  await new Promise<void>((resolve) => server.listen(Number(new URL(url).port), '127.0.0.1', resolve));
  return {
    url,
    async token(clientId: string, resource = audience): Promise<string> {
      const response = await fetch(`${url}/token`, {
        method: 'POST',
        headers: {
          authorization: `Basic ${btoa(`${clientId}:${encodeURIComponent('a secret of this client')}`)}`,
        },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
      });
      const body = (await response.json()) as { access_token?: string };
      assert.ok(body.access_token, JSON.stringify(body));
      return body.access_token;
    },
    /** Returns an ID token, which the issuer signs without a browser login. */
    async idToken(clientId: string): Promise<string> {
      const idToken = new provider.IdToken(
        { shop_user: '42' },
        { client: await provider.Client.find(clientId) },
      );
      idToken.set('sub', 'shop-user');
      idToken.set('nonce', 'n');
      return idToken.issue({ use: 'idtoken' });
    },
    async metadata() {
      const response = await fetch(`${url}/.well-known/openid-configuration`);
      return (await response.json()) as { issuer: string; jwks_uri: string };
    },
    async stop(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('tokens of an external issuer', () => {
  let issuer: Awaited<ReturnType<typeof startIssuer>>;
  let metadata: Awaited<ReturnType<typeof issuer.metadata>>;
  let verifier: TokenVerifier;
  const { logger, lines } = recordingLogger();

  before(async () => {
    issuer = await startIssuer();
    metadata = await issuer.metadata();
    verifier = await verifierWith();
  });
  after(() => issuer.stop());

  async function verifierWith(env: Record<string, string> = {}): Promise<TokenVerifier> {
    const config = loadConfig(z.object(authVariables()), {
      AUTH_ISSUER: metadata.issuer,
      AUTH_JWKS_URL: metadata.jwks_uri,
      AUTH_AUDIENCE: audience,
      AUTH_ALGORITHMS: 'ES256, RS256',
      AUTH_ROLE_CLAIM: 'realm_access.roles',
      AUTH_ADMIN_ROLE: 'boss',
      AUTH_USER_ID_CLAIM: 'shop_user',
      ...env,
    });
    const { authentication } = openVerifier({ config, logger, metrics: testMetrics() });
    assert.ok(authentication !== 'off');
    return authentication;
  }

  it('identify the caller by the configured claims', async () => {
    assert.deepEqual(await verifier.verify(await issuer.token('shop-user')), {
      subject: 'shop-user',
      userId: 42,
      role: 'user',
    });
    assert.deepEqual(await verifier.verify(await issuer.token('shop-boss')), {
      subject: 'shop-boss',
      userId: 1,
      role: 'admin',
    });
  });

  it('are rejected if the audience, the algorithm or the issuer differs', async () => {
    await assert.rejects(verifier.verify(await issuer.token('shop-boss', 'https://elsewhere.example')), {
      code: 'unauthenticated',
    });
    const token = await issuer.token('shop-boss');
    await assert.rejects((await verifierWith({ AUTH_ALGORITHMS: 'EdDSA' })).verify(token), {
      code: 'unauthenticated',
    });
    await assert.rejects((await verifierWith({ AUTH_ISSUER: `${issuer.url}/` })).verify(token), {
      code: 'unauthenticated',
    });
  });

  it('are rejected if they are ID tokens, although issuer, key and audience match', async () => {
    const types = ['at+jwt', 'at+jwt, JWT'];
    for (const AUTH_TOKEN_TYPES of types) {
      const forApi = await verifierWith({ AUTH_TOKEN_TYPES });
      assert.equal((await forApi.verify(await issuer.token('shop-user'))).userId, 42);
      // The audience of an ID token is its client, which may also be the configured audience.
      const forClient = await verifierWith({ AUTH_TOKEN_TYPES, AUTH_AUDIENCE: 'shop-user' });
      await assert.rejects(forClient.verify(await issuer.idToken('shop-user')), {
        code: 'unauthenticated',
        detail: /type/,
      });
    }
    await assert.rejects(
      (await verifierWith({ AUTH_TOKEN_TYPES: 'JWT' })).verify(await issuer.token('shop-user')),
      { code: 'unauthenticated' },
    );
  });

  it('are accepted from cached keys while the issuer is unavailable; without cached keys the error is identity-unavailable', async () => {
    const [token, other] = [await issuer.token('shop-user'), await issuer.token('shop-user')];
    await issuer.stop();
    const late = await verifierWith();
    assert.equal((await verifier.verify(token)).userId, 42);
    assert.equal((await verifier.verify(other)).userId, 42);
    await assert.rejects(late.verify(token), { code: 'identity-unavailable' });
    assert.ok(lines.some(({ msg }) => msg === 'JWKS fetch failed'));
  });
});

it('logs a warning when authentication is off, and rejects unknown values of the variables', () => {
  const { logger, lines } = recordingLogger();
  const config = loadConfig(z.object(authVariables()), { AUTH: 'off' });
  assert.equal(openVerifier({ config, logger, metrics: testMetrics() }).authentication, 'off');
  assert.deepEqual(
    lines.map(({ level }) => level),
    ['warn'],
  );
  assert.equal(loadConfig(z.object(authVariables()), {}).AUTH, 'required', 'and not by default');
  for (const AUTH of ['OFF', 'false', 'no', 'optional'])
    assert.throws(() => loadConfig(z.object(authVariables()), { AUTH }), { exitCode: 78 });
  assert.throws(() => loadConfig(z.object(authVariables()), { AUTH_ALGORITHMS: 'HS256' }), { exitCode: 78 });
  for (const AUTH_TOKEN_TYPES of ['any', 'jwt', 'logout+jwt', 'at+jwt,'])
    assert.throws(() => loadConfig(z.object(authVariables()), { AUTH_TOKEN_TYPES }), { exitCode: 78 });
});
