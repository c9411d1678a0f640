import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { recordingLogger } from '@zerda/chassis/testing';
import { parseTable } from '../routes/read-table.ts';
import { ask, proxiesAt, startGateway, type TestGateway, type TestGatewayOptions } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

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
  const got: number[] = [];
  for (let index = 0; index < count; index += 1) got.push((await ask(url, { headers })).status);
  return got;
}

describe('limit of a route', () => {
  it('says how it stands with every answer, and refuses what is above it', async (context) => {
    const gateway = await start(context);
    const seen: unknown[] = [];
    for (let index = 0; index < 4; index += 1) {
      const { status, headers } = await ask(`${gateway.url}/a`);
      seen.push([status, headers['ratelimit-policy'], String(headers.ratelimit).replace(/t=\d+/, 't')]);
    }
    const policy = '"caller";q=3;w=600';
    assert.deepEqual(seen, [
      [200, policy, '"caller";r=2;t'],
      [200, policy, '"caller";r=1;t'],
      [200, policy, '"caller";r=0;t'],
      [429, policy, '"caller";r=0;t'],
    ]);
    const refused = await ask(`${gateway.url}/a`);
    assert.equal(refused.headers['x-problem'], 'rate-limited');
    const [, seconds] = /t=(\d+)/.exec(String(refused.headers.ratelimit)) ?? [];
    assert.equal(refused.headers['retry-after'], seconds);
    assert.ok(Number(seconds) > 590 && Number(seconds) <= 600, seconds);
    assert.equal(gateway.users.requests.length, 3);
    const metrics = (await gateway.metrics.render()).body;
    assert.match(metrics, /rate_limited_requests_total\{http_route="\/a",scope="caller"\} 2/);
  });

  it('is of that route alone, and does not hold where it is off', async (context) => {
    const gateway = await start(context);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 4), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/b`, 1), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/free`, 5), [200, 200, 200, 200, 200]);
  });

  it('holds for aggregates too', async (context) => {
    const gateway = await start(context);
    assert.deepEqual(await statuses(`${gateway.url}/both`, 4), [200, 200, 200, 429]);
    const refused = await ask(`${gateway.url}/both`);
    assert.match(String(refused.headers.ratelimit), /^"caller";r=0;t=\d+$/);
    assert.ok(Number(refused.headers['retry-after']) > 0);
  });

  it('counts by caller where there is one, wherever the caller asks from', async (context) => {
    const gateway = await start(context, { door: { trustedProxies, authentication: testVerifier } });
    const by = (subject: string, address: string) => ({ ...bearer(subject), 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 2, by('alice', '203.0.113.1')), [200, 200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 2, by('alice', '203.0.113.2')), [200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('bob', '203.0.113.1')), [200]);
  });

  it('counts who is refused by address, so that tokens cannot be tried out', async (context) => {
    const gateway = await start(context, { door: { authentication: testVerifier } });
    const tried: number[] = [];
    for (const token of ['a', 'b', 'c', 'd', 'e'])
      tried.push((await ask(`${gateway.url}/a`, { headers: { authorization: `Bearer ${token}` } })).status);
    assert.deepEqual(tried, [401, 401, 401, 429, 429]);
    assert.equal((await ask(`${gateway.url}/a`, { headers: bearer('alice') })).status, 200);
  });

  it('counts everybody behind a trusted proxy by their own address, IPv6 by /64', async (context) => {
    const gateway = await start(context, { door: { trustedProxies } });
    const by = (address: string) => ({ 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 4, by('203.0.113.1')), [200, 200, 200, 429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('203.0.113.2')), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('1.2.3.4, 203.0.113.1')), [429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 3, by('2001:db8::1')), [200, 200, 200]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('2001:db8::ffff:2')), [429]);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('2001:db8:0:1::1')), [200]);
  });

  it('cannot be had anew by a header that anybody can write', async (context) => {
    const gateway = await start(context);
    const got: number[] = [];
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'client-ip', 'cf-connecting-ip'])
      got.push((await ask(`${gateway.url}/a`, { headers: { [name]: `198.51.100.${got.length}` } })).status);
    assert.deepEqual(got, [200, 200, 200, 429, 429]);
  });

  it('counts by the address that the outermost of the counted proxies saw, whatever the client wrote before it', async (context) => {
    const gateway = await start(context, { door: { trustedProxies: { hops: 2 } } });
    const by = (client: string, index: number) => ({
      'x-forwarded-for': `198.51.100.${index}, 10.1.2.${index}, ${client}, 10.0.0.7`,
    });
    const got: number[] = [];
    for (let index = 0; index < 5; index += 1)
      got.push((await ask(`${gateway.url}/a`, { headers: by('10.1.2.3', index) })).status);
    assert.deepEqual(got, [200, 200, 200, 429, 429]);
    const lines = ['198.51.100.9', '', '10.1.2.3', '10.0.0.7'];
    assert.equal((await ask(`${gateway.url}/a`, { headers: { 'x-forwarded-for': lines } })).status, 429);
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('10.1.2.4', 0)), [200]);
  });

  it('warns once when an address that is not trusted sends X-Forwarded-For', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await start(context, { logger });
    await statuses(`${gateway.url}/a`, 3, { 'x-forwarded-for': '203.0.113.1' });
    const warnings = lines.filter(({ msg }) => msg === 'X-Forwarded-For from an untrusted address ignored');
    assert.deepEqual(
      warnings.map(({ address }) => address),
      ['127.0.0.1'],
    );
  });

  it('is multiplied by the factor, and off with 0', async (context) => {
    const twice = await start(context, { door: { limitFactor: 2 } });
    assert.deepEqual(await statuses(`${twice.url}/a`, 7), [200, 200, 200, 200, 200, 200, 429]);
    const off = await start(context, { door: { limitFactor: 0 } });
    assert.deepEqual(await statuses(`${off.url}/a`, 4), [200, 200, 200, 200]);
    assert.equal((await ask(`${off.url}/a`)).headers.ratelimit, undefined);
  });

  it('of a service counts all callers and routes, and each part of an aggregate', async (context) => {
    const table = tableOf('', '{ limit: { requests: 4, per_seconds: 600 } }');
    const gateway = await start(context, { table, door: { trustedProxies } });
    const by = (address: string) => ({ 'x-forwarded-for': address });
    assert.deepEqual(await statuses(`${gateway.url}/a`, 1, by('203.0.113.1')), [200]);
    assert.deepEqual(await statuses(`${gateway.url}/free`, 1, by('203.0.113.2')), [200]);
    const { headers } = await ask(`${gateway.url}/both`, { headers: by('203.0.113.3') });
    assert.match(String(headers['ratelimit-policy']), /"caller";q=3;w=600.*"upstream";q=4;w=600/);
    assert.deepEqual(await statuses(`${gateway.url}/b`, 1, by('203.0.113.4')), [429]);
  });
});
