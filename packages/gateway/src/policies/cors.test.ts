import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { startGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

const table = parseTable(
  `
upstreams: { user-service: {}, order-service: {} }
defaults: { limit: { requests: 2, per_seconds: 600 } }
routes:
  - { path: /shared, methods: [GET, PUT], upstream: user-service, cors: { origins: ['https://app.test', 'http://localhost:3000'], credentials: true, max_age_seconds: 60 } }
  - { path: /open, methods: [GET], upstream: user-service, access: public, cors: { origins: ['*'], allowed_headers: [traceparent, X-Tenant] } }
  - { path: /plain, methods: [GET], upstream: user-service }
  - { path: /own, methods: [GET, OPTIONS], upstream: user-service, cors: { origins: ['*'] } }
  - { path: /bare, methods: [GET, OPTIONS], upstream: user-service, access: public }
aggregates:
  - path: /both
    cors: { origins: ['https://app.test'] }
    parts: { a: { upstream: user-service, path: /a } }
    answer: { a: { from: a.data } }
`,
  'table',
);

const app = { origin: 'https://app.test' };
const preflight = {
  ...app,
  'access-control-request-method': 'PUT',
  'access-control-request-headers': 'authorization',
};

function start(context: TestContext) {
  return startGateway(context, {
    table,
    door: { authentication: testVerifier },
    users: (_incoming, response) =>
      sendJson(
        response,
        200,
        { data: 1 },
        { 'access-control-allow-origin': 'https://evil.test', vary: 'Accept' },
      ),
  });
}

describe('CORS', () => {
  it('responds to preflight requests without authentication or rate limit of the route', async (context) => {
    const gateway = await start(context);
    for (let round = 0; round < 4; round += 1) {
      const { status, headers, text } = await sendRequest(`${gateway.url}/shared`, {
        method: 'OPTIONS',
        headers: preflight,
      });
      assert.deepEqual([status, text], [204, '']);
      assert.equal(headers['access-control-allow-origin'], app.origin);
      assert.equal(headers['access-control-allow-credentials'], 'true');
      assert.equal(headers['access-control-allow-methods'], 'GET, HEAD, PUT');
      assert.match(headers['access-control-allow-headers'] ?? '', /\bAuthorization\b.*\bIf-Match\b/);
      assert.equal(headers['access-control-max-age'], '60');
      assert.match(headers.vary ?? '', /Origin/);
    }
    assert.equal(gateway.users.requests.length, 0);
  });

  it('adds CORS headers for an allowed origin to responses and errors', async (context) => {
    const gateway = await start(context);
    const result = await sendRequest(`${gateway.url}/shared`, { headers: { ...app, ...bearer('alice') } });
    assert.equal(
      result.headers['access-control-allow-origin'],
      app.origin,
      'the gateway decides, not the service',
    );
    assert.match(result.headers['access-control-expose-headers'] ?? '', /ETag.*RateLimit/);
    assert.match(result.headers.vary ?? '', /Origin.*Accept/);
    for (const path of ['/shared', '/both']) {
      const rejected = await sendRequest(gateway.url + path, { headers: app });
      assert.deepEqual(
        [rejected.status, rejected.headers['access-control-allow-origin']],
        [401, app.origin],
        path,
      );
    }
    const both = await sendRequest(`${gateway.url}/both`, { headers: { ...app, ...bearer('alice') } });
    assert.deepEqual([both.status, both.headers['access-control-allow-origin']], [200, app.origin]);
    assert.equal(
      (
        await sendRequest(`${gateway.url}/both`, {
          method: 'OPTIONS',
          headers: { ...preflight, 'access-control-request-method': 'GET' },
        })
      ).status,
      204,
    );
  });

  it('adds no CORS headers for an origin that is not allowed', async (context) => {
    const gateway = await start(context);
    for (const origin of ['https://evil.test', 'null', 'https://app.test.evil.test', 'http://app.test']) {
      const preflightResult = await sendRequest(`${gateway.url}/shared`, {
        method: 'OPTIONS',
        headers: { ...preflight, origin },
      });
      assert.deepEqual(
        [preflightResult.status, preflightResult.headers['access-control-allow-origin']],
        [204, undefined],
        origin,
      );
      const result = await sendRequest(`${gateway.url}/shared`, {
        headers: { origin, ...bearer(`page${origin.length}`) },
      });
      assert.deepEqual(
        [result.status, result.headers['access-control-allow-origin']],
        [200, undefined],
        origin,
      );
    }
    const withoutOrigin = await sendRequest(`${gateway.url}/shared`, { headers: bearer('alice') });
    assert.match(
      withoutOrigin.headers.vary ?? '',
      /Origin/,
      'a shared cache must not serve it to other origins',
    );
  });

  it('allows any origin with *, without credentials', async (context) => {
    const gateway = await start(context);
    const { headers } = await sendRequest(`${gateway.url}/open`, { headers: app });
    assert.equal(headers['access-control-allow-origin'], '*');
    assert.equal(headers['access-control-allow-credentials'], undefined);
  });

  it('is off by default, and OPTIONS is then an ordinary method', async (context) => {
    const gateway = await start(context);
    assert.equal(
      (await sendRequest(`${gateway.url}/plain`, { method: 'OPTIONS', headers: preflight })).status,
      405,
    );
    assert.equal(
      (await sendRequest(`${gateway.url}/shared`, { method: 'OPTIONS' })).status,
      405,
      'not a preflight request',
    );
    assert.equal(
      (await sendRequest(`${gateway.url}/bare`, { method: 'OPTIONS', headers: preflight })).status,
      200,
    );
    assert.equal(gateway.users.requests.length, 1);
  });

  it('handles preflight requests on a route that allows OPTIONS (Fetch Standard, CORS-preflight fetch)', async (context) => {
    const gateway = await start(context);
    for (const method of ['GET', 'PUT', 'OPTIONS']) {
      const { status, headers } = await sendRequest(`${gateway.url}/own`, {
        method: 'OPTIONS',
        headers: { ...preflight, 'access-control-request-method': method },
      });
      assert.deepEqual([status, headers['access-control-allow-origin']], [204, '*'], method);
    }
    assert.equal(gateway.users.requests.length, 0);
    const plain = await sendRequest(`${gateway.url}/own`, { method: 'OPTIONS', headers: bearer('alice') });
    assert.equal(plain.status, 200, 'not a preflight request: forwarded');
    assert.equal(gateway.users.requests.length, 1);
  });

  it('allows the configured request headers', async (context) => {
    const gateway = await start(context);
    const { headers } = await sendRequest(`${gateway.url}/open`, {
      method: 'OPTIONS',
      headers: { ...preflight, 'access-control-request-method': 'GET' },
    });
    assert.match(headers['access-control-allow-headers'] ?? '', /Authorization, .*, traceparent, X-Tenant$/);
  });
});

describe('configured CORS origins and headers', () => {
  const read = (cors: string) =>
    parseTable(
      `upstreams: { a: {} }\nroutes:\n  - path: /a\n    methods: [GET]\n    upstream: a\n    cors:\n      ${cors}\n`,
      'table',
    );

  it('are rejected with their line if no browser can send them', () => {
    for (const name of [
      ...[
        'https://*.example.com',
        'https://*',
        'http://localhost:*',
        '*.example.com',
        'null',
        'https://a.test/',
      ],
      ...[
        'https://a.test:443',
        'https://A.test',
        'file://',
        'file:///a',
        'data:a',
        'capacitor://',
        'wss://a.test',
      ],
      ...[
        'capacitor://localhost/',
        'Capacitor://localhost',
        'a.test',
        '',
        'capacitor://*',
        'https://bücher.test',
      ],
    ])
      assert.throws(
        () => read(`origins: ['${name}']`),
        /table:7 routes\.0\.cors\.origins\.0 (must|contains)/,
        name,
      );
    for (const name of ['*', 'a b', '', 'cookie2:', 'connection', 'x-forwarded-for', 'host', 'x-user-id'])
      assert.throws(
        () => read(`{ origins: ['*'], allowed_headers: ['${name}'] }`),
        /table:7 routes\.0\.cors\.allowed_headers\.0 /,
        name,
      );
  });

  it('are accepted as browsers and web views send them', () => {
    for (const name of [
      ...[
        '*',
        'https://a.test',
        'http://localhost:3000',
        'http://[::1]:8080',
        'http://127.0.0.1',
        'capacitor://localhost',
      ],
      ...[
        'ionic://localhost',
        'tauri://localhost',
        'app://obsidian.md',
        'chrome-extension://abcdefgh',
        'https://xn--bcher-kva.test',
      ],
      ...[
        'moz-extension://0a1b2c3d-0000-4000-8000-000000000000',
        'vscode-webview://1a2b',
        'capacitor://localhost:8080',
      ],
    ])
      assert.ok(read(`origins: ['${name}']`), name);
    assert.ok(
      read(
        "{ origins: ['*'], allowed_headers: [traceparent, tracestate, baggage, X-Requested-With, Range] }",
      ),
    );
  });
});
