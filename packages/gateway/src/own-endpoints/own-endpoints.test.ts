import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { idleEntry, startGateway, type TestGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import type { Limiters } from '../limits/limiter.ts';
import { parseTable } from '../routes/read-table.ts';

const lowLimits = parseTable(
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
  /** Expected status below the limit. */
  readonly status: number;
  /** Label of a rejected request in metrics; the path by default. */
  readonly label?: string;
}

const preflight = { origin: 'https://app.test', 'access-control-request-method': 'GET' };

/** Requests by kind of own endpoint; those of one kind share a limit. */
const endpoints: Readonly<Record<string, readonly Case[]>> = {
  documentation: [
    ...['/docs', '/docs/style.css', '/openapi.json', '/problems'].map((path) => ({ path, status: 200 })),
    { path: '/problems/not-found', status: 200, label: '/problems/{code}' },
    { method: 'HEAD', path: '/docs', status: 200 },
    { method: 'POST', path: '/openapi.json', status: 405 },
    { path: '/problems/unknown', status: 404, label: '/problems/{code}' },
  ],
  health: [
    { path: '/api/health', status: 200 },
    { method: 'DELETE', path: '/api/health', status: 405 },
  ],
  preflight: [
    { method: 'OPTIONS', path: '/things/1', headers: preflight, status: 204, label: 'preflight' },
    { method: 'OPTIONS', path: '/both', headers: preflight, status: 204, label: 'preflight' },
  ],
  unmatched: [
    { path: '/no/such/path', status: 404, label: 'unmatched' },
    { path: '/DOCS', status: 404, label: 'unmatched' },
    { path: '/things/../docs', status: 400, label: 'unmatched' },
    { method: 'POST', path: '/things/1', status: 405, label: 'unmatched' },
    { method: 'OPTIONS', path: '/things/1', status: 405, label: 'unmatched' },
    { method: 'POST', path: '/both', status: 405, label: 'unmatched' },
    { path: '/things/1', headers: { 'transfer-encoding': 'gzip, chunked' }, status: 400, label: 'unmatched' },
  ],
};

/** Sends a request without URL normalization. */
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

describe('endpoints that the gateway serves itself', () => {
  for (const [name, cases] of Object.entries(endpoints)) {
    it(`limits ${name} by client address`, async (context) => {
      for (const testCase of cases) {
        const gateway = await startGateway(context, { table: lowLimits });
        const requestLine = `${testCase.method ?? 'GET'} ${testCase.path}`;
        const first = await send(gateway, testCase);
        assert.equal(first.status, testCase.status, requestLine);
        assert.equal(first.headers['ratelimit-policy'], '"caller";q=2;w=60', requestLine);
        await send(gateway, testCase);
        const rejected = await send(gateway, testCase);
        assert.deepEqual(
          [rejected.status, rejected.headers['x-problem']],
          [429, 'rate-limited'],
          requestLine,
        );
        assert.ok(Number(rejected.headers['retry-after']) > 0);
        const metrics = (await gateway.metrics.render()).body;
        const label = testCase.label ?? testCase.path;
        assert.ok(
          metrics.includes(`rate_limited_requests_total{http_route="${label}",scope="caller"} 1\n`),
          requestLine,
        );
        // All requests of this kind are rejected for this address, and none for another one.
        for (const other of cases)
          assert.equal((await send(gateway, other)).status, 429, `${other.path} after ${requestLine}`);
        assert.equal((await send(gateway, testCase, '127.0.0.2')).status, testCase.status, requestLine);
      }
    });
  }

  it('records the route of a rejected request in log and metrics', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { table: lowLimits, logger });
    for (const path of ['/api/health', '/problems/not-found'])
      for (let count = 0; count < 3; count += 1) await send(gateway, { path, status: 200 });
    await eventually(() => lines.filter(({ msg }) => msg === 'request').length === 6, 'all log lines');
    assert.deepEqual(
      lines.filter(({ status }) => status === 429).map(({ route }) => route),
      ['/api/health', '/problems/{code}'],
    );
  });

  it('limits each kind separately: routes and health respond while documentation is rejected', async (context) => {
    const gateway = await startGateway(context, { table: lowLimits });
    for (let count = 0; count < 3; count += 1) {
      await send(gateway, { path: '/docs', status: 200 });
      await send(gateway, { path: '/none', status: 404 });
    }
    assert.equal((await send(gateway, { path: '/none', status: 429 })).status, 429);
    assert.equal((await sendRequest(`${gateway.url}/things/1`)).status, 200);
    assert.equal((await sendRequest(`${gateway.url}/api/health`)).status, 200);
  });

  it('applies the default limits and RATE_LIMIT_FACTOR', async (context) => {
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
    const off = await startGateway(context, { table: lowLimits, door: { limitFactor: 0 } });
    for (let count = 0; count < 5; count += 1)
      assert.equal((await send(off, { path: '/docs', status: 200 })).status, 200);
  });

  it('sheds all kinds under overload, except health', async (context) => {
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
      assert.equal((await sendRequest(gateway.url + path, options)).status, status, path);
  });

  it('closes the connection after a malformed request, above the limit too', async (context) => {
    const gateway = await startGateway(context, { table: lowLimits });
    for (const status of [400, 400, 429]) {
      const socket = connect(gateway.port, '127.0.0.1');
      const twice = 'GET /things/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n';
      socket.end(`${twice}GET /things/2 HTTP/1.1\r\nHost: a\r\n\r\n`);
      let text = '';
      for await (const chunk of socket.setEncoding('latin1')) text += chunk;
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.equal(text.split('HTTP/1.1 ').length, 2, 'the next request gets no response');
    }
    assert.equal(gateway.users.requests.length, 0);
  });
});

describe('GET /api/health with many callers', () => {
  it('calls the services once a second and hides data of admins from other callers', async (context) => {
    const gateway = await startGateway(context, {
      table: lowLimits,
      door: { authentication: testVerifier, limitFactor: 0 },
      users: (incoming, response) => {
        const { authorization } = incoming.headers;
        sendJson(response, 200, {
          data: { status: 'healthy', ...(authorization?.includes('admin.') && { users_count: 3 }) },
        });
      },
    });
    const countOf = async (headers: Record<string, string> = {}) => {
      const { status, text } = await sendRequest(`${gateway.url}/api/health`, { headers });
      assert.equal(status, 200);
      const { services, checked_at } = JSON.parse(text).data;
      assert.ok(Date.now() - Date.parse(checked_at) < 5000);
      return services.user_service.users_count;
    };
    assert.equal(await countOf(bearer('root', 'admin')), 3);
    const before = gateway.users.requests.length;
    const startedAt = performance.now();
    const counts = await Promise.all(
      Array.from({ length: 200 }, (_, index) => countOf(index % 2 === 0 ? {} : bearer('alice'))),
    );
    const seconds = Math.ceil((performance.now() - startedAt) / 1000);
    assert.deepEqual(new Set(counts), new Set([undefined]));
    assert.ok(gateway.users.requests.length - before <= seconds, `${gateway.users.requests.length} calls`);
    assert.equal(await countOf(bearer('root', 'admin')), 3);
  });

  it('returns 504 at the deadline of one caller while others wait for the same result', async (context) => {
    const held: (() => void)[] = [];
    const gateway = await startGateway(context, {
      table: lowLimits,
      users: (_incoming, response) => void held.push(() => sendJson(response, 200, { data: {} })),
    });
    const withDeadline = sendRequest(`${gateway.url}/api/health`, {
      headers: { 'x-request-timeout-ms': '100' },
    });
    await eventually(() => held.length === 1, 'the call to the service');
    const withoutDeadline = sendRequest(`${gateway.url}/api/health`);
    assert.equal((await withDeadline).status, 504);
    for (const end of held) end();
    assert.equal(JSON.parse((await withoutDeadline).text).data.overall_status, 'healthy');
    assert.equal(held.length, 1);
  });
});
