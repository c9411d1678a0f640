import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { Agent, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { parseTable } from '../routes/read-table.ts';
import { ask, startGateway, type TestGateway, until } from '../testing.ts';

type Headers = Readonly<Record<string, string | readonly string[]>>;

/** An HTTP-date so many seconds from now. */
function date(seconds = 0): string {
  return new Date(Date.now() + seconds * 1000).toUTCString();
}

function answer(response: ServerResponse, status: number, headers: Headers, body?: string): void {
  response.sendDate = false;
  response.writeHead(status, headers as Record<string, string>).end(body);
}

function start(context: TestContext, users: RequestListener, cache = 'ttl_ms: 60000'): Promise<TestGateway> {
  const table = parseTable(
    `
upstreams: { user-service: {} }
routes:
  - { path: '/kept/{id}', methods: [GET], upstream: user-service, retries: 0, cache: { request_headers: all, ${cache} } }
`,
    'table',
  );
  return startGateway(context, { table, users });
}

async function read({ url }: TestGateway, headers: Record<string, string> = {}, path = '/kept/1') {
  const { status, text, headers: received } = await ask(url + path, { headers });
  return { status, text, headers: received, said: received['x-cache'] };
}

describe('the age of a cached response', () => {
  it('adds up from that of the upstream, on a miss and on hits (RFC 9111, section 4.2.3)', async (context) => {
    const gateway = await start(context, (_incoming, response) =>
      answer(response, 200, { age: '100', date: date(), 'cache-control': 'max-age=3600' }, 'a'),
    );
    const miss = await read(gateway);
    const hit = await read(gateway);
    assert.deepEqual([miss.said, miss.headers.age, hit.said, hit.headers.age], ['miss', '100', 'hit', '100']);
    await wait(1000);
    assert.equal((await read(gateway)).headers.age, '101');
  });

  it('is that of the upstream too when the response is not stored', async (context) => {
    const gateway = await start(context, (_incoming, response) =>
      answer(response, 200, { age: '7200', 'cache-control': 'max-age=3600' }, 'a'),
    );
    for (const expected of ['miss', undefined]) {
      const { said, headers } = await read(gateway);
      assert.deepEqual([said, headers.age], [expected, '7200']);
    }
  });
});

it('Date of a stored response is the stored one, also when the service sent none (RFC 9110, section 6.6.1)', async (context) => {
  const then = date(-100);
  const gateway = await start(context, (incoming, response) =>
    answer(
      response,
      200,
      incoming.url === '/kept/1' ? { date: then, 'cache-control': 'max-age=3600' } : {},
      'a',
    ),
  );
  assert.equal((await read(gateway)).headers.date, then);
  assert.equal((await read(gateway)).headers.date, then);
  const miss = await read(gateway, {}, '/kept/2');
  await wait(1100);
  const hit = await read(gateway, {}, '/kept/2');
  assert.deepEqual([hit.said, hit.headers.date], ['hit', miss.headers.date]);
});

/** Answers 304 to conditions, with these headers, and else with a body and validators. */
function validated(then: Headers, first: Headers = { etag: '"1"' }): RequestListener {
  return (incoming, response) => {
    const { 'if-none-match': tag, 'if-modified-since': since } = incoming.headers;
    if (tag === undefined && since === undefined)
      answer(response, 200, { 'cache-control': 'max-age=0', 'x-own': 'stored', ...first }, 'hello world');
    else answer(response, 304, then);
  };
}

describe('a 304 of the service', () => {
  it('does not replace stored headers that describe the body (RFC 9111, section 3.2)', async (context) => {
    const gateway = await start(
      context,
      validated({
        ...{
          'content-length': '0',
          'content-encoding': 'br',
          'content-md5': 'x',
          'content-range': 'bytes 0-1/2',
        },
        ...{ 'x-new': 'added', etag: '"2"', 'cache-control': 'max-age=60' },
      }),
    );
    await read(gateway);
    for (const said of ['miss', 'hit']) {
      const again = await read(gateway);
      assert.deepEqual([again.status, again.text, again.said], [200, 'hello world', said]);
      assert.equal(Number(again.headers['content-length'] ?? 11), 11);
      for (const name of ['content-encoding', 'content-md5', 'content-range'])
        assert.equal(again.headers[name], undefined, name);
      assert.deepEqual([again.headers['x-own'], again.headers['x-new']], ['stored', 'added']);
      assert.equal(again.headers.etag, '"1"');
    }
    assert.equal(gateway.users.requests.length, 2);
  });

  it('with the length of the body that it does not have is whole (RFC 9110, section 8.6; RFC 9112, section 6.3)', async (context) => {
    const gateway = await start(context, validated({ 'content-length': '11' }));
    for (let round = 0; round < 12; round += 1) {
      const { status, text } = await read(gateway);
      assert.deepEqual([status, text], [200, 'hello world'], `round ${round}`);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.users.breaker.history.failures, 0);
  });

  it('says nothing of the size of what is stored', async (context) => {
    const gateway = await start(context, validated({ 'content-length': '99999999' }));
    await read(gateway);
    assert.equal((await read(gateway)).text, 'hello world');
    assert.equal(gateway.users.requests.length, 2, 'it is not fetched as too large');
  });

  it('is asked for by Last-Modified where there is no tag (RFC 9111, section 4.3.1)', async (context) => {
    const changed = date(-5000);
    const gateway = await start(context, validated({}, { 'last-modified': changed }));
    await read(gateway);
    const again = await read(gateway);
    assert.deepEqual([again.status, again.text, again.headers['x-own']], [200, 'hello world', 'stored']);
    assert.equal(gateway.users.requests[1]?.headers['if-modified-since'], changed);
  });

  it('is never asked for about the response to other request headers', async (context) => {
    const gateway = await start(context, (incoming, response) => {
      const language = String(incoming.headers['accept-language']);
      if (incoming.headers['if-modified-since'] !== undefined)
        answer(response, 304, { vary: 'accept-language' });
      else
        answer(
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
    for (const [language, ...read] of texts) assert.deepEqual(read, [language, language]);
  });

  it('that sets a cookie goes to the client that asked, and is not stored', async (context) => {
    const gateway = await start(context, validated({ 'set-cookie': 'a=b' }));
    await read(gateway);
    assert.deepEqual((await read(gateway)).headers['set-cookie'], ['a=b']);
    assert.equal((await read(gateway)).headers['set-cookie'], undefined);
  });
});

/** A gateway in front of a service that answers with these bytes, whatever it is asked. */
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
routes: [{ path: '/kept/{id}', methods: [GET], upstream: raw, retries: 0, cache: { ttl_ms: 60000 } }]
`,
      'table',
    ),
  });
}

it('204 has no length, whatever the service says (RFC 9110, section 8.6)', async (context) => {
  const head = 'HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\n';
  const gateway = await startRaw(context, head);
  for (const said of ['miss', 'hit']) {
    const got = await read(gateway);
    assert.deepEqual([got.status, got.said, got.headers['content-length']], [204, said, undefined]);
  }
});

it('a response in a transfer coding that was not asked for fails at once (RFC 9112, section 6.1)', async (context) => {
  for (const coding of ['gzip', 'x', 'gzip, chunked']) {
    const gateway = await startRaw(context, `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}\r\n\r\nabc`);
    const since = performance.now();
    assert.equal((await read(gateway)).status, 502, coding);
    assert.ok(performance.now() - since < 2500, 'long before the time of the call is over');
  }
  const chunked = await startRaw(
    context,
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  );
  assert.equal((await read(chunked)).text, 'abc');
});

it('a service that says no-cache is asked before each use, and by each client (RFC 9111, section 5.2.2.4)', async (context) => {
  let version = 1;
  const held: (() => void)[] = [];
  let hold = false;
  const gateway = await start(
    context,
    (incoming, response) => {
      const etag = `"${version}"`;
      const same = incoming.headers['if-none-match'] === etag;
      const send = (): void =>
        answer(response, same ? 304 : 200, { etag, 'cache-control': 'no-cache' }, same ? undefined : etag);
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
  const all = [read(gateway), read(gateway)];
  await until(() => held.length === 1, 'the first');
  held[0]?.();
  await until(() => held.length === 2, 'the second, that came while the first was asked for');
  held[1]?.();
  assert.deepEqual(
    (await Promise.all(all)).map(({ text }) => text),
    ['"2"', '"2"'],
  );
  gateway.users.behaviour = (incoming) => void incoming.socket.destroy();
  assert.equal((await read(gateway)).status, 502, 'and nothing stale is shown when it fails');
});

it('the time that the service states is not prolonged by the table while it answers (RFC 9111, section 4.2.4)', async (context) => {
  const control = { '/kept/1': 'max-age=1', '/kept/2': 'max-age=1, stale-while-revalidate=60' };
  for (const table of ['ttl_ms: 60000', 'ttl_ms: 60000, stale_while_revalidate_ms: 60000']) {
    const gateway = await start(
      context,
      (incoming, response) =>
        answer(
          response,
          200,
          { 'cache-control': control[incoming.url as keyof typeof control], date: date() },
          'a',
        ),
      table,
    );
    for (const [path, said] of [
      ['/kept/1', 'miss'],
      ['/kept/2', 'stale'],
    ] as const) {
      await read(gateway, {}, path);
      await wait(1100);
      assert.equal((await read(gateway, {}, path)).said, said, `${table} ${path}`);
    }
  }
});

it('an error is stored when the service says for how long, and never instead of a response that may stand for it (RFC 9111, section 3)', async (context) => {
  let status = 503;
  const gateway = await start(context, (_incoming, response) =>
    answer(
      response,
      status,
      { 'cache-control': status === 200 ? 'max-age=1, stale-if-error=60' : 'max-age=60' },
      `${status}`,
    ),
  );
  for (const said of ['miss', 'hit']) assert.deepEqual([(await read(gateway)).said], [said]);
  assert.equal(gateway.users.requests.length, 1);
  status = 200;
  await read(gateway, {}, '/kept/2');
  status = 503;
  await wait(1100);
  for (let round = 0; round < 2; round += 1) {
    const old = await read(gateway, {}, '/kept/2');
    assert.deepEqual([old.status, old.text, old.said], [200, '200', 'stale']);
  }
});

it('a client that has the response is told so by its date (RFC 9110, section 13.1.3)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    answer(
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

it('If-None-Match: * holds for no response that there is, with a tag or without (RFC 9110, section 13.1.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    answer(response, 200, { 'cache-control': 'max-age=60' }, 'a'),
  );
  await read(gateway);
  assert.equal((await read(gateway, { 'if-none-match': '*' })).status, 304);
  assert.equal((await read(gateway, { 'if-none-match': '"1"' })).status, 200);
});

it('one range of a fresh response is cut from it, any other goes to the service (RFC 9110, section 14.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) =>
    answer(response, 200, { etag: '"1"', 'cache-control': 'max-age=60', 'x-own': 'a' }, '0123456789'),
  );
  assert.equal((await read(gateway, { range: 'bytes=0-1' })).said, undefined, 'a range alone is not stored');
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
  const others = [
    'bytes=0-1,3-4',
    'bytes=10-',
    'bytes=-0',
    'bytes=2-1',
    'bytes=-',
    'bytes=a-b',
    'lines=0-1',
    '',
  ];
  for (const range of others) assert.equal((await read(gateway, { range })).said, undefined, range);
  assert.equal(gateway.users.requests.length, before + others.length);
  const head = await ask(`${gateway.url}/kept/1`, { method: 'HEAD', headers: { range: 'bytes=0-1' } });
  assert.deepEqual([head.status, head.headers['content-length'] ?? '10'], [200, '10']);
});

it('values of a header that mean the same get the same response (RFC 9111, section 4.1)', async (context) => {
  const gateway = await start(context, (incoming, response) =>
    answer(
      response,
      200,
      { vary: 'accept-language, x-list', 'cache-control': 'max-age=60' },
      JSON.stringify(incoming.headers['accept-language']),
    ),
  );
  await read(gateway, { 'accept-language': 'en, de', 'x-list': '1,2' });
  for (const [language, list, said] of [
    ['en,de', '1, 2', 'hit'],
    [' EN ,   De', '1,2', 'hit'],
    ['de, en', '1,2', 'miss'],
    ['en, de', '1,  "2"', 'miss'],
    ['en, de', '1 2', 'miss'],
    ['en, de', 'A', 'miss'],
    ['en, de', 'a', 'miss'],
  ] as const)
    assert.equal(
      (await read(gateway, { 'accept-language': language, 'x-list': list })).said,
      said,
      `${language} ${list}`,
    );
});

it('interim responses reach the client that asked, and are in no stored response (RFC 9110, section 15.2)', async (context) => {
  const gateway = await start(context, (_incoming, response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: '</a.css>; rel=preload; as=style', 'x-hint': 'a' }, () =>
      answer(response, 200, { 'cache-control': 'max-age=60' }, 'a'),
    );
  });
  const get = (): Promise<[number[], string | string[] | undefined]> =>
    new Promise((resolve, reject) => {
      const interim: number[] = [];
      request(`${gateway.url}/kept/1`, { agent: false }, (incoming) => {
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

it('a connection stays usable after a response that was validated (RFC 9112, section 6.3)', async (context) => {
  const gateway = await start(context, validated({ 'content-length': '0' }));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  context.after(() => agent.destroy());
  const get = (): Promise<string> =>
    new Promise((resolve, reject) => {
      request(`${gateway.url}/kept/1`, { agent }, async (incoming) => {
        let text = '';
        for await (const chunk of incoming) text += chunk;
        resolve(text);
      })
        .on('error', reject)
        .end();
    });
  for (let round = 1; round <= 3; round += 1) assert.equal(await get(), 'hello world', `round ${round}`);
});
