import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createTestIssuer, type TestIssuer, testIssuerName } from '../../packages/chassis/testing/issuer.ts';
import { createAddresses } from './lib/addresses.ts';
import { startFlood } from './lib/client.ts';
import { openTarget, type Target } from './lib/target.ts';

/** Seconds of each flood: enough for twice the rate limit of any endpoint. */
const seconds = Math.max(3, Number(process.env.ATTACK_SECONDS ?? 5));

describe('a cached route of the gateway', () => {
  let target: Target;
  let service: Server;
  let folder: string;

  before(async () => {
    // A service that builds links from request headers, as many frameworks do.
    service = createServer(({ headers, url }, response) => {
      const host = headers['x-forwarded-host'] ?? /host="?([^";,]+)/.exec(String(headers.forwarded))?.[1];
      response.setHeader('Link', `<http://${host ?? headers.host}${url}>; rel=self`);
      response.setHeader('Cache-Control', 'max-age=60');
      response.end(JSON.stringify({ data: headers }));
    }).listen(0, '127.0.0.1');
    await once(service, 'listening');
    folder = await mkdtemp(join(tmpdir(), 'zerda-attack-'));
    const routes = join(folder, 'routes.yaml');
    await writeFile(
      routes,
      `upstreams: { user-service: {}, order-service: {}, plain: {}, named: { host: caller } }
defaults: { cache: { ttl_ms: 60000 }, access: public }
routes:
  - { path: '/plain/{id}', methods: [GET], upstream: plain }
  - { path: '/named/{id}', methods: [GET], upstream: named }
`,
    );
    const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
    target = await openTarget({
      ROUTES_FILE: routes,
      AUTH: 'off',
      PLAIN_SERVICE_URL: url,
      NAMED_SERVICE_URL: url,
    });
  });
  after(async () => {
    await target?.close();
    service.closeAllConnections();
    service.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  it('does not cache a link to a host that an attacker sent in a header', async () => {
    const forged = {
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      'x-original-host': 'evil.example',
      'x-host': 'evil.example',
      origin: 'http://evil.example',
    };
    for (const path of ['/plain/1', '/named/1']) {
      for (const host of ['evil.example', 'shop.example']) {
        await target.client.send('GET', path, { from: '127.79.0.1', headers: { host, ...forged } });
      }
      const { headers, body } = await target.client.send('GET', path, {
        from: '127.79.0.2',
        headers: { host: 'shop.example' },
      });
      assert.equal(headers['x-cache'], 'hit', path);
      assert.doesNotMatch(JSON.stringify([headers, body]), /evil/, path);
    }
  });
});

describe('the gateway with an external issuer', () => {
  let target: Target;
  let jwks: Server;
  let issuer: TestIssuer;
  const addresses = createAddresses(77);

  before(async () => {
    issuer = await createTestIssuer();
    const keys = JSON.stringify(issuer.keySet);
    jwks = createServer((_request, response) => response.end(keys)).listen(0, '127.0.0.1');
    await once(jwks, 'listening');
    target = await openTarget({
      AUTH_ISSUER: testIssuerName,
      AUTH_JWKS_URL: `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/`,
      AUTH_ADMIN_EMAIL: '',
      AUTH_ADMIN_PASSWORD: '',
    });
  });
  after(async () => {
    await target?.close();
    jwks?.close();
  });

  it('accepts access tokens and rejects other tokens of the same issuer', async () => {
    const sign = (typ: string | undefined, claims = {}) =>
      issuer.token({ subject: '1', userId: 1, role: 'admin' }, claims, { typ });
    const statusOf = async (token: string) =>
      (await target.client.send('GET', '/api/users', { token })).status;
    assert.equal(await statusOf(await sign('at+jwt')), 200);
    assert.equal(await statusOf(await sign('application/at+jwt')), 200);
    for (const typ of [undefined, 'JWT', 'logout+jwt', 'secevent+jwt', 'id_token', 'at+jwt2'])
      assert.equal(await statusOf(await sign(typ)), 401, String(typ));
    for (const sub of [null, {}, [], ['1'], 1, ''])
      assert.equal(await statusOf(await sign('at+jwt', { sub })), 401, JSON.stringify(sub));
  });

  for (const [name, method, path, maxBytes] of [
    ['documentation', 'GET', '/docs', 120_000_000],
    ['the OpenAPI document', 'GET', '/openapi.json', 120_000_000],
    ['unknown paths', 'GET', '/no/such/path', 20_000_000],
    ['unknown methods', 'PATCH', '/api/users', 20_000_000],
    ['health', 'GET', '/api/health', 20_000_000],
  ] as const) {
    it(`limits requests for ${name} per client address`, async (context) => {
      const [from, otherAddress] = [addresses.next(), addresses.next()];
      let bytes = 0;
      const flood = startFlood(600, async () => {
        const response = await target.client.send(method, path, { from });
        bytes += response.bytes;
        return response;
      });
      const otherStatuses: number[] = [];
      const endAt = performance.now() + seconds * 1000;
      while (performance.now() < endAt) {
        otherStatuses.push((await target.client.send('GET', '/api/health', { from: otherAddress })).status);
        await wait(50);
      }
      const outcomes = await flood.stop();
      context.diagnostic(`${JSON.stringify(outcomes)}, ${(bytes / 1e6).toFixed(1)} MB`);
      assert.ok((outcomes[429] ?? 0) > 0, 'the limit was reached');
      assert.ok(bytes < maxBytes);
      assert.deepEqual(
        otherStatuses.filter((status) => status !== 200),
        [],
      );
    });
  }
});
