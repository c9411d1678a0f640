import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import type { Limiters } from '../limits/limiter.ts';
import { parseTable } from '../routes/read-table.ts';
import { ask, idleEntry, sendJson, startGateway, type TestGateway, tableWith, until } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

const few = parseTable(
  `
upstreams: { user-service: { health: /health } }
routes:
  - { path: '/things/{id}', methods: [GET], upstream: user-service, access: public, cors: { origins: ['https://app.test'] } }
aggregates:
  - path: /both
    access: public
    cors: { origins: ['https://app.test'] }
    parts: { a: { upstream: user-service, path: /a } }
    answer: { a: { from: a.data } }
own:
  documentation: { limit: { requests: 2, per_seconds: 60 } }
  health: { limit: { requests: 2, per_seconds: 60 } }
  preflight: { limit: { requests: 2, per_seconds: 60 } }
  unmatched: { limit: { requests: 2, per_seconds: 60 } }
`,
  'table',
);

interface Case {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  /** Without a limit. */
  readonly status: number;
}

const preflight = { origin: 'https://app.test', 'access-control-request-method': 'GET' };

/** Each list shares one limit. */
const endpoints: Readonly<Record<string, readonly Case[]>> = {
  documentation: [
    ...['/docs', '/docs/style.css', '/openapi.json', '/problems', '/problems/not-found'].map((path) => ({
      path,
      status: 200,
    })),
    { method: 'HEAD', path: '/docs', status: 200 },
    { method: 'POST', path: '/openapi.json', status: 405 },
    { path: '/problems/unknown', status: 404 },
  ],
  health: [
    { path: '/api/health', status: 200 },
    { method: 'DELETE', path: '/api/health', status: 405 },
  ],
  preflight: [
    { method: 'OPTIONS', path: '/things/1', headers: preflight, status: 204 },
    { method: 'OPTIONS', path: '/both', headers: preflight, status: 204 },
  ],
  unmatched: [
    { path: '/no/such/path', status: 404 },
    { path: '/DOCS', status: 404 },
    { path: '/things/../docs', status: 400 },
    { method: 'POST', path: '/things/1', status: 405 },
    { method: 'OPTIONS', path: '/things/1', status: 405 },
    { method: 'POST', path: '/both', status: 405 },
    { path: '/things/1', headers: { 'transfer-encoding': 'gzip, chunked' }, status: 400 },
  ],
};

/** Sends a path as it is, where a URL would be resolved. */
function send(
  { port }: TestGateway,
  { method = 'GET', path, headers = {} }: Case,
  localAddress = '127.0.0.1',
): Promise<{ status: number; headers: Readonly<Record<string, unknown>> }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port, host: '127.0.0.1', method, path, headers, agent: false, localAddress },
      (incoming) => {
        incoming.resume();
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers }));
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

describe('what the gateway answers itself', () => {
  for (const [name, cases] of Object.entries(endpoints)) {
    it(`is limited by client address: ${name}`, async (context) => {
      for (const each of cases) {
        const gateway = await startGateway(context, { table: few });
        const label = `${each.method ?? 'GET'} ${each.path}`;
        const first = await send(gateway, each);
        assert.equal(first.status, each.status, label);
        assert.equal(first.headers['ratelimit-policy'], '"caller";q=2;w=60', label);
        await send(gateway, each);
        const refused = await send(gateway, each);
        assert.deepEqual([refused.status, refused.headers['x-problem']], [429, 'rate-limited'], label);
        assert.ok(Number(refused.headers['retry-after']) > 0);
        // Every other way to the same limit is closed for this address, and none for another one.
        for (const other of cases)
          assert.equal((await send(gateway, other)).status, 429, `${other.path} after ${label}`);
        assert.equal((await send(gateway, each, '127.0.0.2')).status, each.status, label);
        assert.match(
          (await gateway.metrics.render()).body,
          /rate_limited_requests_total\{http_route="[^"]+",scope="caller"\}/,
        );
      }
    });
  }

  it('has limits of its own: routes and health respond while documentation is refused', async (context) => {
    const gateway = await startGateway(context, { table: few });
    for (let count = 0; count < 3; count += 1) {
      await send(gateway, { path: '/docs', status: 200 });
      await send(gateway, { path: '/none', status: 404 });
    }
    assert.equal((await send(gateway, { path: '/none', status: 429 })).status, 429);
    assert.equal((await ask(`${gateway.url}/things/1`)).status, 200);
    assert.equal((await ask(`${gateway.url}/api/health`)).status, 200);
  });

  it('is limited when the table does not say so, and RATE_LIMIT_FACTOR applies', async (context) => {
    const quotas = new Map<string, string>();
    const recording: Limiters = {
      create(name, { requests, perSeconds }) {
        quotas.set(name, `${requests}/${perSeconds}`);
        return { count: async () => ({ allowed: true, remaining: 1, resetMs: 1 }) };
      },
    };
    const table = parseTable('{ upstreams: {}, routes: [] }', 'table');
    await startGateway(context, { table, door: { limiters: recording, limitFactor: 2 } });
    assert.deepEqual(Object.fromEntries(quotas), {
      'own documentation': '600/60',
      'own health': '1200/60',
      'own preflight': '10000/10',
      'own unmatched': '2000/60',
    });
    const off = await startGateway(context, { table: few, door: { limitFactor: 0 } });
    for (let count = 0; count < 5; count += 1)
      assert.equal((await send(off, { path: '/docs', status: 200 })).status, 200);
  });

  it('is shed under overload, but for health', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({}),
      door: { load: { reason: () => 'in_flight', enter: () => idleEntry, stop: () => undefined } },
    });
    for (const { path, status, ...options } of [
      { path: '/docs', status: 503 },
      { path: '/none', status: 503 },
      { path: '/api/users', method: 'PATCH', status: 503 },
      { path: '/api/health', status: 200 },
    ])
      assert.equal((await ask(gateway.url + path, options)).status, status, path);
  });

  it('closes the connection of a malformed request also when that is over the limit', async (context) => {
    const gateway = await startGateway(context, { table: few });
    for (const status of [400, 400, 429]) {
      const socket = connect(gateway.port, '127.0.0.1');
      const twice = 'GET /things/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n';
      socket.end(`${twice}GET /things/2 HTTP/1.1\r\nHost: a\r\n\r\n`);
      let text = '';
      for await (const chunk of socket.setEncoding('latin1')) text += chunk;
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.equal(text.split('HTTP/1.1 ').length, 2, 'nothing behind it is answered');
    }
    assert.equal(gateway.users.requests.length, 0);
  });
});

describe('GET /api/health of many callers', () => {
  it('asks the services once a second, and shows no caller what an admin is shown', async (context) => {
    const gateway = await startGateway(context, {
      table: few,
      door: { authentication: testVerifier, limitFactor: 0 },
      users: (incoming, response) => {
        const { authorization } = incoming.headers;
        sendJson(response, 200, {
          data: { status: 'healthy', ...(authorization?.includes('admin.') && { users_count: 3 }) },
        });
      },
    });
    const countOf = async (headers: Record<string, string> = {}) => {
      const { status, text } = await ask(`${gateway.url}/api/health`, { headers });
      assert.equal(status, 200);
      const { services, checked_at } = JSON.parse(text).data;
      assert.ok(Date.now() - Date.parse(checked_at) < 5000);
      return services.user_service.users_count;
    };
    assert.equal(await countOf(bearer('root', 'admin')), 3);
    const before = gateway.users.requests.length;
    const begun = performance.now();
    const counts = await Promise.all(
      Array.from({ length: 200 }, (_, index) => countOf(index % 2 === 0 ? {} : bearer('alice'))),
    );
    const seconds = Math.ceil((performance.now() - begun) / 1000);
    assert.deepEqual(new Set(counts), new Set([undefined]));
    assert.ok(gateway.users.requests.length - before <= seconds, `${gateway.users.requests.length} calls`);
    assert.equal(await countOf(bearer('root', 'admin')), 3);
  });

  it('does not wait longer than the caller does, while others wait for the same result', async (context) => {
    const held: (() => void)[] = [];
    const gateway = await startGateway(context, {
      table: few,
      users: (_incoming, response) => void held.push(() => sendJson(response, 200, { data: {} })),
    });
    const hurried = ask(`${gateway.url}/api/health`, { headers: { 'x-request-timeout-ms': '100' } });
    await until(() => held.length === 1, 'the call to the service');
    const patient = ask(`${gateway.url}/api/health`);
    assert.equal((await hurried).status, 504);
    for (const end of held) end();
    assert.equal(JSON.parse((await patient).text).data.overall_status, 'healthy');
    assert.equal(held.length, 1);
  });
});
