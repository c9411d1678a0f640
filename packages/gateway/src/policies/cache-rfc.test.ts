import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { Agent, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway, type TestGateway } from '../../testing/gateway.ts';
import { parseTable } from '../routes/read-table.ts';

type Headers = Readonly<Record<string, string | readonly string[]>>;

/** Returns the HTTP-date `seconds` from now. */
function date(seconds = 0): string {
  return new Date(Date.now() + seconds * 1000).toUTCString();
}

function respond(response: ServerResponse, status: number, headers: Headers, body?: string): void {
  response.sendDate = false;
  response.writeHead(status, headers as Record<string, string>).end(body);
}

function start(context: TestContext, users: RequestListener, cache = 'ttl_ms: 60000'): Promise<TestGateway> {
  const table = parseTable(
    `
upstreams: { user-service: {} }
routes:
  - { path: '/cached/{id}', methods: [GET], upstream: user-service, retries: 0, cache: { request_headers: all, ${cache} } }
`,
    'table',
  );
  return startGateway(context, { table, users });
}

async function read({ url }: TestGateway, headers: Record<string, string> = {}, path = '/cached/1') {
  const { status, text, headers: received } = await sendRequest(url + path, { headers });
  return { status, text, headers: received, xCache: received['x-cache'] };
}

describe('the age of a cached response', () => {
  it('includes the age at the upstream, on misses and hits (RFC 9111, section 4.2.3)', async (context) => {
    const gateway = await start(context, (_incoming, response) =>
      respond(response, 200, { age: '100', date: date(), 'cache-control': 'max-age=3600' }, 'a'),
    );
    const miss = await read(gateway);
    const hit = await read(gateway);
    assert.deepEqual(
      [miss.xCache, miss.headers.age, hit.xCache, hit.headers.age],
      ['miss', '100', 'hit', '100'],
    );
    await wait(1000);
    assert.equal((await read(gateway)).headers.age, '101');
  });

  it('is the age at the upstream if the response is not stored', async (context) => {
    const gateway = await start(context, (_incoming, response) =>
      respond(response, 200, { age: '7200', 'cache-control': 'max-age=3600' }, 'a'),
    );
    for (const expected of ['miss', undefined]) {
      const { xCache, headers } = await read(gateway);
      assert.deepEqual([xCache, headers.age], [expected, '7200']);
    }
  });
});

it('returns the stored Date, or the time of receipt if the service sent none (RFC 9110, section 6.6.1)', async (context) => {
  const serviceDate = date(-100);
  const gateway = await start(context, (incoming, response) =>
    respond(
      response,
      200,
      incoming.url === '/cached/1' ? { date: serviceDate, 'cache-control': 'max-age=3600' } : {},
      'a',
    ),
  );
  assert.equal((await read(gateway)).headers.date, serviceDate);
  assert.equal((await read(gateway)).headers.date, serviceDate);
  const miss = await read(gateway, {}, '/cached/2');
  await wait(1100);
  const hit = await read(gateway, {}, '/cached/2');
  assert.deepEqual([hit.xCache, hit.headers.date], ['hit', miss.headers.date]);
});

/** Creates a service that returns 304 to conditional requests, and otherwise a body with validators. */
function revalidating(notModifiedHeaders: Headers, validators: Headers = { etag: '"1"' }): RequestListener {
  return (incoming, response) => {
    const { 'if-none-match': tag, 'if-modified-since': since } = incoming.headers;
    if (tag === undefined && since === undefined)
      respond(
        response,
        200,
        { 'cache-control': 'max-age=0', 'x-own': 'stored', ...validators },
        'hello world',
      );
    else respond(response, 304, notModifiedHeaders);
  };
}

describe('a 304 of the service', () => {
  it('does not replace stored headers that describe the body (RFC 9111, section 3.2)', async (context) => {
    const gateway = await start(
      context,
      revalidating({
        'content-length': '0',
        'content-encoding': 'br',
        'content-md5': 'x',
        'content-range': 'bytes 0-1/2',
        'x-new': 'added',
        etag: '"2"',
        'cache-control': 'max-age=60',
      }),
    );
    await read(gateway);
    for (const xCache of ['miss', 'hit']) {
      const revalidated = await read(gateway);
      assert.deepEqual(
        [revalidated.status, revalidated.text, revalidated.xCache],
        [200, 'hello world', xCache],
      );
      assert.equal(Number(revalidated.headers['content-length'] ?? 11), 11);
      for (const name of ['content-encoding', 'content-md5', 'content-range'])
        assert.equal(revalidated.headers[name], undefined, name);
      assert.deepEqual([revalidated.headers['x-own'], revalidated.headers['x-new']], ['stored', 'added']);
      assert.equal(revalidated.headers.etag, '"1"');
    }
    assert.equal(gateway.users.requests.length, 2);
  });

  it('with a Content-Length but no body is complete (RFC 9110, section 8.6; RFC 9112, section 6.3)', async (context) => {
    const gateway = await start(context, revalidating({ 'content-length': '11' }));
    for (let round = 0; round < 12; round += 1) {
      const { status, text } = await read(gateway);
      assert.deepEqual([status, text], [200, 'hello world'], `round ${round}`);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.users.breaker.history.failures, 0);
  });

  it('does not count its Content-Length against max_bytes', async (context) => {
    const gateway = await start(context, revalidating({ 'content-length': '99999999' }));
    await read(gateway);
    assert.equal((await read(gateway)).text, 'hello world');
    assert.equal(gateway.users.requests.length, 2, 'not fetched again as too large');
  });

  it('is requested by Last-Modified if there is no entity tag (RFC 9111, section 4.3.1)', async (context) => {
    const modified = date(-5000);
    const gateway = await start(context, revalidating({}, { 'last-modified': modified }));
    await read(gateway);
    const revalidated = await read(gateway);
    assert.deepEqual(
      [revalidated.status, revalidated.text, revalidated.headers['x-own']],
      [200, 'hello world', 'stored'],
    );
    assert.equal(gateway.users.requests[1]?.headers['if-modified-since'], modified);
  });

  it('is not requested for a response to other request headers', async (context) => {
    const gateway = await start(context, (incoming, response) => {
      const language = String(incoming.headers['accept-language']);
      if (incoming.headers['if-modified-since'] !== undefined)
        respond(response, 304, { vary: 'accept-language' });
      else
        respond(
          response,
          200,
          { 'last-modified': date(-5000), vary: 'accept-language', 'cache-control': 'max-age=0' },
          language,
        );
    });
    const texts = await Promise.all(
      ['de', 'fr', 'de', 'fr', 'it'].map(async (language) => {
        const first = await read(gateway, { 'accept-language': language });
        const second = await read(gateway, { 'accept-language': language });
        return [language, first.text, second.text];
      }),
    );
    for (const [language, ...bodies] of texts) assert.deepEqual(bodies, [language, language]);
  });

  it('with Set-Cookie reaches only the requesting client and is not stored', async (context) => {
    const gateway = await start(context, revalidating({ 'set-cookie': 'a=b' }));
    await read(gateway);
    assert.deepEqual((await read(gateway)).headers['set-cookie'], ['a=b']);
    assert.equal((await read(gateway)).headers['set-cookie'], undefined);
  });
});

/** Starts a gateway with a service that sends the same bytes to every request. */
async function startRaw(context: TestContext, bytes: string): Promise<TestGateway> {
  const server = createServer((socket) => {
    socket.on('data', () => socket.write(bytes)).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return startGateway(context, {
    others: { raw: `http://127.0.0.1:${port}` },
    table: parseTable(
      `
upstreams: { raw: {} }
routes: [{ path: '/cached/{id}', methods: [GET], upstream: raw, retries: 0, cache: { ttl_ms: 60000 } }]
`,
      'table',
    ),
  });
}

it('removes Content-Length from a 204 (RFC 9110, section 8.6)', async (context) => {
  const head = 'HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\n';
  const gateway = await startRaw(context, head);
  for (const xCache of ['miss', 'hit']) {
    const result = await read(gateway);
    assert.deepEqual(
      [result.status, result.xCache, result.headers['content-length']],
      [204, xCache, undefined],
    );
  }
});

it('returns 502 immediately for an unsupported transfer coding (RFC 9112, section 6.1)', async (context) => {
  for (const coding of ['gzip', 'x', 'gzip, chunked']) {
    const gateway = await startRaw(context, `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}\r\n\r\nabc`);
    const startedAt = performance.now();
    assert.equal((await read(gateway)).status, 502, coding);
    assert.ok(performance.now() - startedAt < 2500, 'well before the timeout of the call');
  }
  const chunked = await startRaw(
    context,
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  );
  assert.equal((await read(chunked)).text, 'abc');
});

it('revalidates a no-cache response for every request, even concurrent ones (RFC 9111, section 5.2.2.4)', async (context) => {
  let version = 1;
  const held: (() => void)[] = [];
  let hold = false;
  const gateway = await start(
    context,
    (incoming, response) => {
      const etag = `"${version}"`;
      const notModified = incoming.headers['if-none-match'] === etag;
      const send = (): void =>
        respond(
          response,
          notModified ? 304 : 200,
          { etag, 'cache-control': 'no-cache' },
          notModified ? undefined : etag,
        );
      if (hold) held.push(send);
      else send();
    },
    'ttl_ms: 60000, stale_while_revalidate_ms: 60000, stale_if_error_ms: 60000',
  );
  assert.equal((await read(gateway)).text, '"1"');
  assert.equal((await read(gateway)).text, '"1"');
  version = 2;
  assert.equal((await read(gateway)).text, '"2"');
  assert.deepEqual(
    gateway.users.requests.map(({ headers }) => headers['if-none-match']),
    [undefined, '"1"', '"1"'],
  );
  hold = true;
  const concurrent = [read(gateway), read(gateway)];
  await eventually(() => held.length === 1, 'the first call');
  held[0]?.();
  await eventually(() => held.length === 2, 'the second call');
  held[1]?.();
  assert.deepEqual(
    (await Promise.all(concurrent)).map(({ text }) => text),
    ['"2"', '"2"'],
  );
  gateway.users.listener = (incoming) => void incoming.socket.destroy();
  assert.equal((await read(gateway)).status, 502, 'no stale response after a failure');
});

it('the settings do not extend an explicit lifetime while the service is available (RFC 9111, section 4.2.4)', async (context) => {
  const controls = { '/cached/1': 'max-age=1', '/cached/2': 'max-age=1, stale-while-revalidate=60' };
  for (const settings of ['ttl_ms: 60000', 'ttl_ms: 60000, stale_while_revalidate_ms: 60000']) {
    const gateway = await start(
      context,
      (incoming, response) =>
        respond(
          response,
          200,
          { 'cache-control': controls[incoming.url as keyof typeof controls], date: date() },
          'a',
        ),
      settings,
    );
    for (const [path, xCache] of [
      ['/cached/1', 'miss'],
      ['/cached/2', 'stale'],
    ] as const) {
      await read(gateway, {}, path);
      await wait(1100);
      assert.equal((await read(gateway, {}, path)).xCache, xCache, `${settings} ${path}`);
    }
  }
});

it('stores an error with an explicit lifetime, unless a stale response may replace it (RFC 9111, section 3)', async (context) => {
  let status = 503;
  const gateway = await start(context, (_incoming, response) =>
    respond(
      response,
      status,
      { 'cache-control': status === 200 ? 'max-age=1, stale-if-error=60' : 'max-age=60' },
      `${status}`,
    ),
  );
  for (const xCache of ['miss', 'hit']) assert.deepEqual([(await read(gateway)).xCache], [xCache]);
  assert.equal(gateway.users.requests.length, 1);
  status = 200;
  await read(gateway, {}, '/cached/2');
  status = 503;
  await wait(1100);
  for (let round = 0; round < 2; round += 1) {
    const stale = await read(gateway, {}, '/cached/2');
    assert.deepEqual([stale.status, stale.text, stale.xCache], [200, '200', 'stale']);
  }
});

it('returns 304 for If-Modified-Since if the response has not changed (RFC 9110, section 13.1.3)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    respond(
      response,
      200,
      { etag: '"1"', 'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT', 'cache-control': 'max-age=60' },
      'a',
    ),
  );
  await read(gateway);
  for (const [headers, status] of [
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:37 GMT' }, 304],
    [{ 'if-modified-since': 'Sunday, 06-Nov-94 08:49:37 GMT' }, 304],
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:38 GMT' }, 304],
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:36 GMT' }, 200],
    [{ 'if-modified-since': 'yesterday' }, 200],
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:37 GMT', 'if-none-match': '"2"' }, 200],
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:36 GMT', 'if-none-match': '"1"' }, 304],
  ] as const)
    assert.equal((await read(gateway, headers)).status, status, JSON.stringify(headers));
  assert.equal(gateway.users.requests.length, 1);
});

it('returns 304 for If-None-Match: * even without an entity tag (RFC 9110, section 13.1.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    respond(response, 200, { 'cache-control': 'max-age=60' }, 'a'),
  );
  await read(gateway);
  assert.equal((await read(gateway, { 'if-none-match': '*' })).status, 304);
  assert.equal((await read(gateway, { 'if-none-match': '"1"' })).status, 200);
});

it('serves a single range of a fresh response and forwards all others (RFC 9110, section 14.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    respond(response, 200, { etag: '"1"', 'cache-control': 'max-age=60', 'x-own': 'a' }, '0123456789'),
  );
  assert.equal(
    (await read(gateway, { range: 'bytes=0-1' })).xCache,
    undefined,
    'a range response is not stored',
  );
  await read(gateway);
  for (const [range, text, content] of [
    ['bytes=0-1', '01', '0-1'],
    ['bytes=8-', '89', '8-9'],
    ['bytes=-3', '789', '7-9'],
    ['bytes=-99', '0123456789', '0-9'],
    ['BYTES=9-99', '9', '9-9'],
  ] as const) {
    const part = await read(gateway, { range });
    assert.deepEqual(
      [part.status, part.text, part.headers['content-range']],
      [206, text, `bytes ${content}/10`],
      range,
    );
    assert.deepEqual([part.headers['content-length'], part.headers['x-own']], [String(text.length), 'a']);
  }
  assert.equal((await read(gateway, { range: 'bytes=0-1', 'if-none-match': '"1"' })).status, 304);
  const before = gateway.users.requests.length;
  const forwardedRanges = [
    'bytes=0-1,3-4',
    'bytes=10-',
    'bytes=-0',
    'bytes=2-1',
    'bytes=-',
    'bytes=a-b',
    'lines=0-1',
    '',
  ];
  for (const range of forwardedRanges)
    assert.equal((await read(gateway, { range })).xCache, undefined, range);
  assert.equal(gateway.users.requests.length, before + forwardedRanges.length);
  const head = await sendRequest(`${gateway.url}/cached/1`, {
    method: 'HEAD',
    headers: { range: 'bytes=0-1' },
  });
  assert.deepEqual([head.status, head.headers['content-length'] ?? '10'], [200, '10']);
});

it('serves the same response for equivalent header values (RFC 9111, section 4.1)', async (context) => {
  const gateway = await start(context, (incoming, response) =>
    respond(
      response,
      200,
      { vary: 'accept-language, x-list', 'cache-control': 'max-age=60' },
      JSON.stringify(incoming.headers['accept-language']),
    ),
  );
  await read(gateway, { 'accept-language': 'en, de', 'x-list': '1,2' });
  for (const [language, list, xCache] of [
    ['en,de', '1, 2', 'hit'],
    [' EN ,   De', '1,2', 'hit'],
    ['de, en', '1,2', 'miss'],
    ['en, de', '1,  "2"', 'miss'],
    ['en, de', '1 2', 'miss'],
    ['en, de', 'A', 'miss'],
    ['en, de', 'a', 'miss'],
  ] as const)
    assert.equal(
      (await read(gateway, { 'accept-language': language, 'x-list': list })).xCache,
      xCache,
      `${language} ${list}`,
    );
});

it('forwards interim responses only to the requesting client and does not store them (RFC 9110, section 15.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: '</a.css>; rel=preload; as=style', 'x-hint': 'a' }, () =>
      respond(response, 200, { 'cache-control': 'max-age=60' }, 'a'),
    );
  });
  const get = (): Promise<[number[], string | string[] | undefined]> =>
    new Promise((resolve, reject) => {
      const interim: number[] = [];
      request(`${gateway.url}/cached/1`, { agent: false }, (incoming) => {
        incoming.resume().once('end', () => resolve([interim, incoming.headers['x-hint']]));
      })
        .on('information', ({ statusCode }) => interim.push(statusCode))
        .on('error', reject)
        .end();
    });
  assert.deepEqual(await get(), [[102, 103], undefined]);
  assert.deepEqual(await get(), [[], undefined]);
  assert.equal(gateway.users.requests.length, 1);
});

it('keeps a connection usable after a revalidated response (RFC 9112, section 6.3)', async (context) => {
  const gateway = await start(context, revalidating({ 'content-length': '0' }));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  context.after(() => agent.destroy());
  const get = (): Promise<string> =>
    new Promise((resolve, reject) => {
      request(`${gateway.url}/cached/1`, { agent }, async (incoming) => {
        let text = '';
        for await (const chunk of incoming) text += chunk;
        resolve(text);
      })
        .on('error', reject)
        .end();
    });
  for (let round = 1; round <= 3; round += 1) assert.equal(await get(), 'hello world', `round ${round}`);
});
