import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { proxiesAt, startGateway, type TestGateway, type TestGatewayOptions } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

function tableOf(routes: string, upstream = '{}'): ReturnType<typeof parseTable> {
  return parseTable(
    `
upstreams: { user-service: ${upstream}, order-service: {} }
defaults: { limit: { requests: 3, per_seconds: 600 } }
routes:
  - { path: /a, methods: [GET], upstream: user-service }
  - { path: /b, methods: [GET], upstream: user-service }
  - { path: /free, methods: [GET], upstream: user-service, limit: off }
${routes}
aggregates:
  - path: /both
    parts:
      a: { upstream: user-service, path: /part }
      b: { upstream: user-service, path: /part }
    answer: { a: { from: a.data } }
`,
    'table',
  );
}

function start(context: TestContext, options: TestGatewayOptions = {}): Promise<TestGateway> {
  return startGateway(context, { table: tableOf(''), ...options });
}

const trustedProxies = proxiesAt('127.0.0.1');

async function statuses(
  url: string,
  count: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<number[]> {
  const results: number[] = [];
  for (let index = 0; index < count; index += 1) results.push((await sendRequest(url, { headers })).status);
  return results;
}

describe('rate limit of a route', () => {
  it('adds rate limit headers to every response and returns 429 above the limit', async (context) => {
    const gateway = await start(context);
    const seen: unknown[] = [];
    for (let index = 0; index < 4; index += 1) {
      const { status, headers } = await sendRequest(`${gateway.url}/a`);
      seen.push([status, headers['ratelimit-policy'], String(headers.ratelimit).replace(/t=\d+/, 't')]);
    }
    const policy = '"caller";q=3;w=600';
    assert.deepEqual(seen, [
      [200, policy, '"caller";r=2;t'],
      [200, policy, '"caller";r=1;t'],
      [200, policy, '"caller";r=0;t'],
      [429, policy, '"caller";r=0;t'],
    ]);
    const rejected = await sendRequest(`${gateway.url}/a`);
    assert.equal(rejected.headers['x-problem'], 'rate-limited');
    const [, seconds] = /t=(\d+)/.exec(String(rejected.headers.ratelimit)) ?? [];
    assert.equal(rejected.headers['retry-after'], seconds);
    assert.ok(Number(seconds) > 590 && Number(seconds) <= 600, seconds);
    assert.equal(gateway.users.requests.length, 3);
    const metrics = (await gateway.metrics.render()).body;
    assert.match(metrics, /rate_limited_requests_total\{http_route="\/a",scope="caller"\} 2/);
  });

  it('counts each route separately, and off sets no limit', async (context) => {
    const gateway = await start(context);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 4), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/b`, 1), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/free`, 5), [200, 200, 200, 200, 200]);
  });

  it('applies to aggregates', async (context) => {
    const gateway = await start(context);
    assert.deepEqual(await statuses(`${gateway.url}/both`, 4), [200, 200, 200, 429]);
    const rejected = await sendRequest(`${gateway.url}/both`);
    assert.match(String(rejected.headers.ratelimit), /^"caller";r=0;t=\d+$/);
    assert.ok(Number(rejected.headers['retry-after']) > 0);
  });

  it('counts by token subject, whatever the client address', async (context) => {
    const gateway = await start(context, { door: { trustedProxies, authentication: testVerifier } });
    const by = (subject: string, address: string) => ({ ...bearer(subject), 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 2, by('alice', '203.0.113.1')), [200, 200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 2, by('alice', '203.0.113.2')), [200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('bob', '203.0.113.1')), [200]);
  });

  it('counts requests rejected with 401 by client address, which slows token guessing', async (context) => {
    const gateway = await start(context, { door: { authentication: testVerifier } });
    const guesses: number[] = [];
    for (const token of ['a', 'b', 'c', 'd', 'e'])
      guesses.push(
        (await sendRequest(`${gateway.url}/a`, { headers: { authorization: `Bearer ${token}` } })).status,
      );
    assert.deepEqual(guesses, [401, 401, 401, 429, 429]);
    assert.equal((await sendRequest(`${gateway.url}/a`, { headers: bearer('alice') })).status, 200);
  });

  it('counts clients behind a trusted proxy by their own address, IPv6 by /64 prefix', async (context) => {
    const gateway = await start(context, { door: { trustedProxies } });
    const by = (address: string) => ({ 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 4, by('203.0.113.1')), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('203.0.113.2')), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('1.2.3.4, 203.0.113.1')), [429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 3, by('2001:db8::1')), [200, 200, 200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('2001:db8::ffff:2')), [429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('2001:db8:0:1::1')), [200]);
  });

  it('ignores address headers of untrusted clients', async (context) => {
    const gateway = await start(context);
    const results: number[] = [];
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'client-ip', 'cf-connecting-ip'])
      results.push(
        (await sendRequest(`${gateway.url}/a`, { headers: { [name]: `198.51.100.${results.length}` } }))
          .status,
      );
    assert.deepEqual(results, [200, 200, 200, 429, 429]);
  });

  it('counts by the address that the outermost trusted hop added, whatever the client sends', async (context) => {
    const gateway = await start(context, { door: { trustedProxies: { hops: 2 } } });
    const by = (client: string, index: number) => ({
      'x-forwarded-for': `198.51.100.${index}, 10.1.2.${index}, ${client}, 10.0.0.7`,
    });
    const results: number[] = [];
    for (let index = 0; index < 5; index += 1)
      results.push((await sendRequest(`${gateway.url}/a`, { headers: by('10.1.2.3', index) })).status);
    assert.deepEqual(results, [200, 200, 200, 429, 429]);
    const lines = ['198.51.100.9', '', '10.1.2.3', '10.0.0.7'];
    assert.equal(
      (await sendRequest(`${gateway.url}/a`, { headers: { 'x-forwarded-for': lines } })).status,
      429,
    );
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('10.1.2.4', 0)), [200]);
  });

  it('logs one warning when an untrusted address sends X-Forwarded-For', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await start(context, { logger });
    await statuses(`${gateway.url}/a`, 3, { 'x-forwarded-for': '203.0.113.1' });
    const warnings = lines.filter(({ msg }) => msg === 'X-Forwarded-For from an untrusted address ignored');
    assert.deepEqual(
      warnings.map(({ address }) => address),
      ['127.0.0.1'],
    );
  });

  it('is multiplied by the limit factor, and 0 disables it', async (context) => {
    const doubled = await start(context, { door: { limitFactor: 2 } });
    assert.deepEqual(await statuses(`${doubled.url}/a`, 7), [200, 200, 200, 200, 200, 200, 429]);
    const off = await start(context, { door: { limitFactor: 0 } });
    assert.deepEqual(await statuses(`${off.url}/a`, 4), [200, 200, 200, 200]);
    assert.equal((await sendRequest(`${off.url}/a`)).headers.ratelimit, undefined);
  });

  it('of an upstream counts all callers, routes and parts of aggregates', async (context) => {
    const table = tableOf('', '{ limit: { requests: 4, per_seconds: 600 } }');
    const gateway = await start(context, { table, door: { trustedProxies } });
    const by = (address: string) => ({ 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('203.0.113.1')), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/free`, 1, by('203.0.113.2')), [200]);
    const { headers } = await sendRequest(`${gateway.url}/both`, { headers: by('203.0.113.3') });
    assert.match(String(headers['ratelimit-policy']), /"caller";q=3;w=600.*"upstream";q=4;w=600/);
    assert.deepEqual(await statuses(`${gateway.url}/b`, 1, by('203.0.113.4')), [429]);
  });

  it('replaces the rate limit headers of the service, which a route without a limit forwards', async (context) => {
    const ofService = { RateLimit: '"caller";r=7;t=7', 'RateLimit-Policy': '"caller";q=8;w=9' };
    const policiesOf = async (
      table: ReturnType<typeof parseTable>,
      path: string,
      door: TestGatewayOptions['door'] = {},
    ) => {
      const users: TestGatewayOptions['users'] = (_request, response) =>
        sendJson(response, 200, {}, ofService);
      const gateway = await start(context, { table, users, door });
      const { headers } = await sendRequest(gateway.url + path);
      return [headers['ratelimit-policy'], String(headers.ratelimit).replace(/t=\d+/, 't')];
    };
    const upstreamLimit = tableOf('', '{ limit: { requests: 4, per_seconds: 600 } }');
    const forwarded = ['"caller";q=8;w=9', '"caller";r=7;t'];
    assert.deepEqual(await policiesOf(tableOf(''), '/a'), ['"caller";q=3;w=600', '"caller";r=2;t']);
    assert.deepEqual(await policiesOf(upstreamLimit, '/free'), ['"upstream";q=4;w=600', '"upstream";r=3;t']);
    assert.deepEqual(await policiesOf(tableOf(''), '/free'), forwarded);
    assert.deepEqual(await policiesOf(upstreamLimit, '/a', { limitFactor: 0 }), forwarded);
  });
});
