import assert from 'node:assert/strict';
import { type IncomingMessage, type RequestListener, request } from 'node:http';
import { describe, it } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import fc from 'fast-check';
import { proxiesAt, startGateway, type TestGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

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

/** Headers that the gateway adds to every call, and `connection`. */
const gatewayHeaders = new Set([
  'x-correlation-id',
  'x-request-timeout-ms',
  'traceparent',
  'via',
  'connection',
]);

/** Returns the request headers of the client that a service gets, with lower-case names. */
function clientHeadersOf({ rawHeaders, headers }: IncomingMessage): Pairs {
  const seen: [string, string][] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? '';
    const isServiceHost = name === 'host' && headers.host?.startsWith('127.0.0.1:');
    if (!gatewayHeaders.has(name) && !isServiceHost) seen.push([name, rawHeaders[index + 1] ?? '']);
  }
  return seen.sort(([left], [right]) => left.localeCompare(right));
}

/** Creates a service that returns the received headers in its headers and body, with the number of the call. */
function reflecting(): RequestListener {
  let fetches = 0;
  return (incoming, response) => {
    incoming.resume();
    fetches += 1;
    const seen = clientHeadersOf(incoming);
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

/** Sends a request with unchanged headers: names in any case, and repeated ones. */
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

/** Returns the joined values of a header; undefined if it is missing or `Connection` lists it. */
function joinedValue(headers: Pairs, wantedName: string): string | undefined {
  const all = headers.filter(([name]) => name.toLowerCase() === wantedName).map(([, value]) => value);
  const hopByHop = headers.some(
    ([name, value]) =>
      name.toLowerCase() === 'connection' && value.split(',').some((option) => option.trim() === wantedName),
  );
  return all.length === 0 || hopByHop ? undefined : all.join(', ').trim();
}

/** Returns the client headers that the service gets of a cached read, as documented. */
function documentedHeaders({ route, behindProxy, subject, host, headers }: Read): Pairs {
  const negotiation =
    route === 'both'
      ? [['accept', 'application/json'] as const]
      : ['accept', 'accept-encoding', 'accept-language', ...(route === 'tenant' ? ['x-tenant'] : [])].flatMap(
          (name) => {
            const value = joinedValue(headers, name);
            return value === undefined ? [] : [[name, value] as const];
          },
        );
  // The scheme of a trusted proxy counts: the last value if the client sent one too.
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
  ].toSorted(([left], [right]) => left.localeCompare(right));
}

describe('request headers on a cached route', () => {
  it('reach the service only if they are part of the key', async (context) => {
    const services = { users: reflecting(), orders: reflecting() };
    const start = (trusted: object = {}) =>
      startGateway(context, {
        table,
        ...services,
        door: { authentication: testVerifier, ...trusted },
      });
    const direct = await start();
    const proxied = await start({ trustedProxies: proxiesAt('127.0.0.1/32') });
    let run = 0;
    const traces = new Set<unknown>();

    async function perform(step: Read): Promise<{ key: string; fetch: string } | undefined> {
      const { route, behindProxy, subject, host, absolute } = step;
      const path = `/${route}/${run}`;
      const headers: Pairs = [
        // An absolute target overrides the Host header (RFC 9112, section 3.2.2).
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
      const correlationId = step.headers.find(([name]) => name === 'X-Correlation-Id')?.[1];
      if (
        correlationId !== undefined &&
        step.headers.filter(([name]) => name === 'X-Correlation-Id').length === 1
      )
        assert.equal(received['x-correlation-id'], correlationId);
      assert.match(String(received.traceresponse), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      assert.ok(!traces.has(received.traceresponse), 'each response has the trace of its own request');
      traces.add(received.traceresponse);
      const fetch = `${behindProxy} ${route} ${data.fetch}`;
      // A bypass is forwarded unchanged; its call must serve no other request.
      if (bypasses(step)) return { key: `bypass ${data.fetch}`, fetch };
      const expected = documentedHeaders(step);
      assert.deepEqual(data.seen, expected, 'the service gets exactly the keyed headers');
      if (route !== 'both') {
        assert.equal(received['x-seen'], encodeURIComponent(JSON.stringify(expected)));
        assert.doesNotMatch(String(received.link), route === 'host' ? /elsewhere/ : /evil|elsewhere|shop/);
      }
      return { key: JSON.stringify([behindProxy, route, expected]), fetch };
    }

    await fc.assert(
      fc.asyncProperty(fc.array(read, { minLength: 2, maxLength: 10 }), async (steps) => {
        run += 1;
        const responses = [
          ...(await Promise.all(steps.map(perform))),
          ...(await Promise.all(steps.map(perform))),
        ].filter((result) => result !== undefined);
        const fetches = new Map<string, string>();
        for (const { key, fetch } of responses) {
          if (key.startsWith('bypass')) continue;
          assert.equal(fetches.get(key) ?? fetch, fetch, 'one response per key');
          fetches.set(key, fetch);
        }
        const distinct = new Set(fetches.values());
        assert.equal(distinct.size, fetches.size, 'one key per response');
        for (const { key, fetch } of responses)
          assert.ok(!key.startsWith('bypass') || !distinct.has(fetch), 'a bypass is not stored');
      }),
      { numRuns: 80 },
    );
  });

  it('with another host influence only responses to requests for that host', async (context) => {
    const services = { users: reflecting(), orders: reflecting() };
    const gateway = await startGateway(context, { table, ...services });
    const linkOf = async (path: string, headers: Record<string, string>) => {
      const result = await sendRequest(gateway.url + path, { headers });
      return [result.headers.link, result.headers['x-cache']];
    };
    const forged = {
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      'x-original-host': 'evil.example',
    };
    const serviceLink = `<http://127.0.0.1:${gateway.users.port}/next>; rel=next`;
    assert.deepEqual(await linkOf('/public/1', { host: 'evil.example', ...forged }), [serviceLink, 'miss']);
    assert.deepEqual(await linkOf('/public/1', { host: 'shop.test' }), [serviceLink, 'hit']);
    const linkTo = (host: string) => `<http://${host}/next>; rel=next`;
    assert.deepEqual(await linkOf('/host/1', { host: 'evil.example' }), [linkTo('evil.example'), 'miss']);
    assert.deepEqual(await linkOf('/host/1', { host: 'shop.test', ...forged }), [
      linkTo('shop.test'),
      'miss',
    ]);
    assert.deepEqual(await linkOf('/host/1', { host: 'shop.test' }), [linkTo('shop.test'), 'hit']);
  });

  it('are filtered for an uncacheable response too', async (context) => {
    const gateway = await startGateway(context, {
      table,
      door: { authentication: testVerifier },
      users: (incoming, response) =>
        sendJson(response, 200, { seen: clientHeadersOf(incoming) }, { 'cache-control': 'no-store' }),
    });
    const headers: Pairs = [
      ['Host', 'a'],
      ['X-Made-Up', 'evil'],
      ['Accept', 'text/html'],
      ['If-None-Match', '"1"'],
    ];
    const first = await send(gateway, '/public/1', headers);
    const second = await send(gateway, '/public/1', headers);
    assert.deepEqual(first.data.seen, [['accept', 'text/html']]);
    assert.deepEqual(second.data.seen, [
      ['accept', 'text/html'],
      ['if-none-match', '"1"'],
    ]);
  });

  it('all reach the service with request_headers: all, and Vary separates the responses', async (context) => {
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
      const result = await sendRequest(gateway.url + path, {
        headers: { 'x-tenant': tenant, host: 'evil.example' },
      });
      return [JSON.parse(result.text).tenant, result.headers['x-cache']];
    };
    assert.deepEqual(await get('a'), ['a', 'miss']);
    assert.deepEqual(await get('b'), ['b', 'miss']);
    assert.deepEqual(await get('a'), ['a', 'hit']);
    assert.deepEqual(await get('b'), ['b', 'hit']);
    assert.equal(gateway.users.requests[0]?.headers['x-forwarded-host'], undefined);
    // No key contains a correlation id, so a response that depends on it is not stored.
    await get('a', '/all/id');
    assert.deepEqual(await get('a', '/all/id'), ['a', undefined]);
  });
});

describe('a cached route', () => {
  it('forwards OPTIONS instead of returning the stored response to GET', async (context) => {
    const gateway = await startGateway(context, { table, users: reflecting() });
    await sendRequest(`${gateway.url}/public/1`);
    const result = await sendRequest(`${gateway.url}/public/1`, { method: 'OPTIONS' });
    assert.equal(JSON.parse(result.text).method, 'OPTIONS');
  });

  it('returns only headers that its policies allow, even if a part of an aggregate stored others', async (context) => {
    const gateway = await startGateway(context, { table, users: reflecting() });
    const headers = { accept: 'application/json' };
    await sendRequest(`${gateway.url}/cors-too/1`, { headers });
    const result = await sendRequest(`${gateway.url}/cors/1`, { headers });
    assert.equal(result.headers['x-cache'], 'hit');
    assert.equal(result.headers['access-control-allow-origin'], undefined);
  });

  it('shares no responses between two tokens of one user', async (context) => {
    const gateway = await startGateway(context, {
      table,
      users: reflecting(),
      door: {
        authentication: {
          verify: async () => ({ subject: 'alice', userId: 1, role: 'user' }),
        },
      },
    });
    const get = async (token: string) =>
      (await sendRequest(`${gateway.url}/user/1`, { headers: { authorization: `Bearer ${token}` } })).headers[
        'x-cache'
      ];
    assert.deepEqual([await get('narrow'), await get('wide'), await get('wide')], ['miss', 'miss', 'hit']);
  });
});

/** Whether a request bypasses the cache. Tokens on public routes are not verified. */
function bypasses({ headers, subject, route }: Read): boolean {
  return headers.some(([name]) => name === 'Cookie' || name === 'Cache-Control') && route !== 'both'
    ? true
    : subject !== undefined && route !== 'user' && route !== 'both';
}
