import assert from 'node:assert/strict';
import { type IncomingMessage, type RequestListener, request } from 'node:http';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseTable } from '../routes/read-table.ts';
import { ask, proxiesAt, sendJson, startGateway, type TestGateway } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

const table = parseTable(
  `
upstreams: { user-service: {}, order-service: { host: caller } }
defaults: { cache: { ttl_ms: 60000 }, access: public }
routes:
  - { path: '/public/{id}', methods: [GET, PUT, OPTIONS], upstream: user-service }
  - { path: '/host/{id}', methods: [GET], upstream: order-service }
  - { path: '/tenant/{id}', methods: [GET], upstream: user-service, cache: { ttl_ms: 60000, request_headers: [x-tenant] } }
  - { path: '/user/{id}', methods: [GET], upstream: user-service, access: optional }
  - { path: '/all/{id}', methods: [GET], upstream: user-service, cache: { ttl_ms: 60000, request_headers: all } }
  - { path: '/cors/{id}', methods: [GET], upstream: user-service, cors: { origins: ['https://app.test'] } }
aggregates:
  - path: /both/{id}
    access: optional
    parts: { part: { upstream: user-service, path: '/user/{id}', cache: { ttl_ms: 60000 } } }
    answer: { fetch: { from: part.fetch }, seen: { from: part.seen } }
  - path: /cors-too/{id}
    parts: { part: { upstream: user-service, path: '/cors/{id}', cache: { ttl_ms: 60000 } } }
    answer: { fetch: { from: part.fetch } }
`,
  'table',
);

type Pairs = readonly (readonly [name: string, value: string])[];

/** Headers that the gateway adds to every call, and those of the connection to the stub service. */
const ofGateway = new Set([
  ...['x-correlation-id', 'x-request-timeout-ms', 'traceparent', 'via', 'connection'],
]);

/** What a service sees of the client: every header but those of the gateway, names in lower case. */
function seenIn({ rawHeaders, headers }: IncomingMessage): Pairs {
  const seen: [string, string][] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? '';
    const isOwnHost = name === 'host' && headers.host?.startsWith('127.0.0.1:');
    if (!ofGateway.has(name) && !isOwnHost) seen.push([name, rawHeaders[index + 1] ?? '']);
  }
  return seen.sort(([one], [other]) => one.localeCompare(other));
}

/** A service that repeats in headers and body whatever it sees; each response has a number of its own. */
function reflecting(): RequestListener {
  let fetches = 0;
  return (incoming, response) => {
    incoming.resume();
    fetches += 1;
    const seen = seenIn(incoming);
    const { headers } = incoming;
    sendJson(
      response,
      200,
      { fetch: fetches, seen, method: incoming.method },
      {
        'cache-control': 'max-age=60',
        link: `<http://${headers['x-forwarded-host'] ?? headers.host}/next>; rel=next`,
        'x-correlation-id': String(headers['x-correlation-id']),
        traceresponse: String(headers.traceparent),
        'x-seen': encodeURIComponent(JSON.stringify(seen)),
        'access-control-allow-origin': '*',
      },
    );
  };
}

interface Response {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly data: { readonly fetch: number; readonly seen: Pairs; readonly method?: string };
}

/** Sends a request with its headers exactly as they are: names in any case, and more than once. */
function send(gateway: TestGateway, path: string, headers: Pairs): Promise<Response> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port: gateway.port, host: '127.0.0.1', path, agent: false, setHost: false, headers: headers.flat() },
      async (incoming) => {
        let text = '';
        for await (const chunk of incoming) text += chunk;
        const body = JSON.parse(text);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          data: body.data ?? body,
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

const hosts = ['shop.test', 'SHOP.test', 'shop.test:80', 'evil.example'];
const header = fc.oneof(
  fc.tuple(fc.constantFrom('Accept', 'accept'), fc.constantFrom('application/json', 'text/html')),
  fc.tuple(fc.constantFrom('Accept-Language', 'ACCEPT-LANGUAGE'), fc.constantFrom('de', 'fr', '')),
  fc.tuple(fc.constant('Accept-Encoding'), fc.constantFrom('gzip', 'br')),
  fc.tuple(fc.constantFrom('X-Tenant', 'x-tenant', 'X_Tenant'), fc.constantFrom('a', 'b')),
  fc.tuple(
    fc.constantFrom('X-Forwarded-Host', 'x-forwarded-host', 'X-Forwarded-Proto'),
    fc.constantFrom('evil.example', 'https'),
  ),
  fc.tuple(
    fc.constantFrom(
      ...['Forwarded', 'X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Prefix', 'X-Forwarded-For', 'Via'],
      ...['X-Host', 'Origin', 'Referer', 'User-Agent', 'X-Api-Key', 'Accept-Charset', 'Prefer', 'X-Made-Up'],
      ...['If-None-Match', 'If-Modified-Since', 'Traceparent', 'Baggage', 'X-Request-Timeout-Ms', 'DNT'],
    ),
    fc.constantFrom('evil.example', '/evil', '"evil"', '7000', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`),
  ),
  fc.tuple(fc.constant('X-Correlation-Id'), fc.constantFrom('one', 'two')),
  fc.tuple(fc.constant('Connection'), fc.constantFrom('accept', 'close, x-tenant', 'keep-alive')),
  fc.tuple(fc.constantFrom('Cookie', 'Cache-Control'), fc.constant('no-cache')),
);
const routes = ['public', 'host', 'tenant', 'user', 'both'] as const;
const read = fc.record({
  route: fc.constantFrom(...routes),
  behindProxy: fc.boolean(),
  subject: fc.constantFrom('alice', 'bob', undefined),
  host: fc.constantFrom(...hosts),
  absolute: fc.boolean(),
  headers: fc.array(header, { maxLength: 6 }),
});

type Read = typeof read extends fc.Arbitrary<infer Value> ? Value : never;

/** The one value of a header, duplicates joined, unless `Connection` makes it one of the connection. */
function joinedValue(headers: Pairs, wanted: string): string | undefined {
  const all = headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
  const hopByHop = headers.some(
    ([name, value]) =>
      name.toLowerCase() === 'connection' && value.split(',').some((option) => option.trim() === wanted),
  );
  return all.length === 0 || hopByHop ? undefined : all.join(', ').trim();
}

/** What the documentation says that the service sees of a cached read. */
function documented({ route, behindProxy, subject, host, headers }: Read): Pairs {
  const negotiation =
    route === 'both'
      ? [['accept', 'application/json'] as const]
      : ['accept', 'accept-encoding', 'accept-language', ...(route === 'tenant' ? ['x-tenant'] : [])].flatMap(
          (name) => {
            const value = joinedValue(headers, name);
            return value === undefined ? [] : [[name, value] as const];
          },
        );
  // A trusted proxy is believed the scheme, the last one where a client wrote one too.
  const scheme = behindProxy
    ? headers.findLast(([name]) => name.toLowerCase() === 'x-forwarded-proto')?.[1]
    : undefined;
  return [
    ...negotiation,
    ...(route === 'host'
      ? [
          ['host', host] as const,
          ['x-forwarded-host', host] as const,
          ['x-forwarded-proto', scheme === 'https' ? 'https' : 'http'] as const,
        ]
      : []),
    ...(subject !== undefined && (route === 'user' || route === 'both')
      ? [['authorization', bearer(subject).authorization] as const]
      : []),
  ].toSorted(([one], [other]) => one.localeCompare(other));
}

describe('request headers on a cached route', () => {
  it('change what the service sees only when they are in the key, whatever clients send', async (context) => {
    const services = { users: reflecting(), orders: reflecting() };
    const start = (trusted: object = {}) =>
      startGateway(context, {
        ...{ table, ...services, door: { authentication: testVerifier, ...trusted } },
      });
    const direct = await start();
    const proxied = await start({ trustedProxies: proxiesAt('127.0.0.1/32') });
    let run = 0;

    async function perform(step: Read): Promise<{ key: string; fetch: string } | undefined> {
      const { route, behindProxy, subject, host, absolute } = step;
      const path = `/${route}/${run}`;
      const headers: Pairs = [
        // The target's authority counts, not that of the header (RFC 9112, section 3.2.2).
        ['Host', absolute ? 'elsewhere.test' : host],
        ...step.headers,
        ...(subject !== undefined ? [['Authorization', bearer(subject).authorization] as const] : []),
      ];
      const {
        status,
        data,
        headers: received,
      } = await send(behindProxy ? proxied : direct, absolute ? `http://${host}${path}` : path, headers);
      assert.equal(status, 200);
      const own = step.headers.find(([name]) => name === 'X-Correlation-Id')?.[1];
      if (own !== undefined && step.headers.filter(([name]) => name === 'X-Correlation-Id').length === 1)
        assert.equal(received['x-correlation-id'], own);
      assert.equal(received.traceresponse, bypasses(step) ? received.traceresponse : undefined);
      const fetch = `${behindProxy} ${route} ${data.fetch}`;
      // A bypass is forwarded as it came: that number must be of no other request.
      if (bypasses(step)) return { key: `bypass ${data.fetch}`, fetch };
      const expected = documented(step);
      assert.deepEqual(data.seen, expected, 'the service sees what the key has, and nothing else');
      if (route !== 'both') {
        assert.equal(received['x-seen'], encodeURIComponent(JSON.stringify(expected)));
        assert.doesNotMatch(String(received.link), route === 'host' ? /elsewhere/ : /evil|elsewhere|shop/);
      }
      return { key: JSON.stringify([behindProxy, route, expected]), fetch };
    }

    await fc.assert(
      fc.asyncProperty(fc.array(read, { minLength: 2, maxLength: 10 }), async (steps) => {
        run += 1;
        const answers = [
          ...(await Promise.all(steps.map(perform))),
          ...(await Promise.all(steps.map(perform))),
        ].filter((answer) => answer !== undefined);
        const fetches = new Map<string, string>();
        for (const { key, fetch } of answers) {
          if (key.startsWith('bypass')) continue;
          assert.equal(fetches.get(key) ?? fetch, fetch, 'one key, one response');
          fetches.set(key, fetch);
        }
        const distinct = new Set(fetches.values());
        assert.equal(distinct.size, fetches.size, 'another key, another response');
        for (const { key, fetch } of answers)
          assert.ok(!key.startsWith('bypass') || !distinct.has(fetch), 'a bypass is not stored');
      }),
      { numRuns: 80 },
    );
  });

  it('that name another host show in no response but those to requests for that host', async (context) => {
    const services = { users: reflecting(), orders: reflecting() };
    const gateway = await startGateway(context, { table, ...services });
    const linkOf = async (path: string, headers: Record<string, string>) => {
      const answer = await ask(gateway.url + path, { headers });
      return [answer.headers.link, answer.headers['x-cache']];
    };
    const forged = {
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      'x-original-host': 'evil.example',
    };
    const own = `<http://127.0.0.1:${gateway.users.port}/next>; rel=next`;
    assert.deepEqual(await linkOf('/public/1', { host: 'evil.example', ...forged }), [own, 'miss']);
    assert.deepEqual(await linkOf('/public/1', { host: 'shop.test' }), [own, 'hit']);
    const linkTo = (host: string) => `<http://${host}/next>; rel=next`;
    assert.deepEqual(await linkOf('/host/1', { host: 'evil.example' }), [linkTo('evil.example'), 'miss']);
    assert.deepEqual(await linkOf('/host/1', { host: 'shop.test', ...forged }), [
      linkTo('shop.test'),
      'miss',
    ]);
    assert.deepEqual(await linkOf('/host/1', { host: 'shop.test' }), [linkTo('shop.test'), 'hit']);
  });

  it('reach the service likewise when its response turns out not to be cacheable', async (context) => {
    const gateway = await startGateway(context, {
      ...{ table, door: { authentication: testVerifier } },
      users: (incoming, response) =>
        sendJson(response, 200, { seen: seenIn(incoming) }, { 'cache-control': 'no-store' }),
    });
    const headers: Pairs = [
      ...[['Host', 'a'] as const, ['X-Made-Up', 'evil'] as const],
      ...[['Accept', 'text/html'] as const, ['If-None-Match', '"1"'] as const],
    ];
    const first = await send(gateway, '/public/1', headers);
    const second = await send(gateway, '/public/1', headers);
    assert.deepEqual(first.data.seen, [['accept', 'text/html']]);
    assert.deepEqual(second.data.seen, [
      ['accept', 'text/html'],
      ['if-none-match', '"1"'],
    ]);
  });

  it('of all kinds reach the service where the table says so, and Vary tells responses apart', async (context) => {
    const gateway = await startGateway(context, {
      table,
      users: (incoming, response) =>
        sendJson(
          response,
          200,
          { tenant: incoming.headers['x-tenant'], forwarded: incoming.headers['x-forwarded-host'] },
          { vary: incoming.url === '/all/id' ? 'x-correlation-id' : 'x-tenant' },
        ),
    });
    const get = async (tenant: string, path = '/all/1') => {
      const answer = await ask(gateway.url + path, { headers: { 'x-tenant': tenant, host: 'evil.example' } });
      return [JSON.parse(answer.text).tenant, answer.headers['x-cache']];
    };
    assert.deepEqual(await get('a'), ['a', 'miss']);
    assert.deepEqual(await get('b'), ['b', 'miss']);
    assert.deepEqual(await get('a'), ['a', 'hit']);
    assert.deepEqual(await get('b'), ['b', 'hit']);
    assert.equal(gateway.users.requests[0]?.headers['x-forwarded-host'], undefined);
    // No key has the id of a request: what depends on it is for that request alone.
    await get('a', '/all/id');
    assert.deepEqual(await get('a', '/all/id'), ['a', undefined]);
  });
});

describe('a cached route', () => {
  it('forwards OPTIONS instead of answering with what GET got', async (context) => {
    const gateway = await startGateway(context, { table, users: reflecting() });
    await ask(`${gateway.url}/public/1`);
    const answer = await ask(`${gateway.url}/public/1`, { method: 'OPTIONS' });
    assert.equal(JSON.parse(answer.text).method, 'OPTIONS');
  });

  it('shows only headers that its own policies allow, also when a part of an aggregate has cached them', async (context) => {
    const gateway = await startGateway(context, { table, users: reflecting() });
    const headers = { accept: 'application/json' };
    await ask(`${gateway.url}/cors-too/1`, { headers });
    const answer = await ask(`${gateway.url}/cors/1`, { headers });
    assert.equal(answer.headers['x-cache'], 'hit');
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
  });

  it('shares nothing between two tokens of one user, which may allow different things', async (context) => {
    const gateway = await startGateway(context, {
      ...{ table, users: reflecting() },
      door: {
        authentication: {
          verify: async () => ({ subject: 'alice', userId: 1, role: 'user' }),
        },
      },
    });
    const get = async (token: string) =>
      (await ask(`${gateway.url}/user/1`, { headers: { authorization: `Bearer ${token}` } })).headers[
        'x-cache'
      ];
    assert.deepEqual([await get('narrow'), await get('wide'), await get('wide')], ['miss', 'miss', 'hit']);
  });
});

/** Whether the client asks for the service itself. A token on a public route is one that no one has verified. */
function bypasses({ headers, subject, route }: Read): boolean {
  return headers.some(([name]) => name === 'Cookie' || name === 'Cache-Control') && route !== 'both'
    ? true
    : subject !== undefined && route !== 'user' && route !== 'both';
}
