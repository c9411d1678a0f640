import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway, type TestGateway, type TestGatewayOptions } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

function tableOf(cache: string): ReturnType<typeof parseTable> {
  return parseTable(
    `
upstreams: { user-service: {}, order-service: {} }
routes:
  - { path: '/cached/{id}', methods: [GET, PUT], upstream: user-service, cache: ${cache}, timeout_ms: 2000, retries: 0 }
  - { path: '/uncached/{id}', methods: [GET, POST], upstream: user-service }
aggregates:
  - path: /both/{id}
    parts:
      a: { upstream: user-service, path: '/cached/{id}', cache: ${cache} }
      b: { upstream: order-service, path: '/other/{id}' }
    answer: { a: { from: a.version }, b: { from: b.version } }
`,
    'table',
  );
}

const longTtl = '{ ttl_ms: 60000 }';
const shortTtl = '{ ttl_ms: 1, stale_if_error_ms: 60000 }';

interface Versions {
  /** Incremented by every write. */
  version: number;
  /** Response headers of reads. */
  headers: Record<string, string>;
}

/** Creates a service that returns a version and increments it on writes. */
function versioned(state: Versions): RequestListener {
  return (incoming, response) => {
    incoming.resume();
    if (incoming.method !== 'GET') state.version += 1;
    const { authorization = 'anonymous' } = incoming.headers;
    sendJson(response, 200, { version: state.version, for: authorization }, state.headers);
  };
}

async function start(context: TestContext, options: TestGatewayOptions & { cache?: string } = {}) {
  const state: Versions = { version: 1, headers: {} };
  const { cache = longTtl, ...others } = options;
  const gateway = await startGateway(context, {
    table: tableOf(cache),
    users: versioned(state),
    orders: versioned({ version: 9, headers: {} }),
    ...others,
  });
  return { gateway, state };
}

async function read(
  { url }: TestGateway,
  path = '/cached/1',
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
) {
  const result = await sendRequest(url + path, { headers, method });
  const { version } = result.text === '' ? { version: undefined } : JSON.parse(result.text);
  return { ...result, version: version as number | undefined, xCache: result.headers['x-cache'] };
}

describe('cache of a route', () => {
  it('sends one call for concurrent requests, even if the first client disconnects', async (context) => {
    let pending: ServerResponse | undefined;
    const { gateway } = await start(context, {
      users: (_incoming, response) => {
        pending = response;
      },
    });
    const withDeadline = sendRequest(`${gateway.url}/cached/1`, {
      headers: { 'x-request-timeout-ms': '100' },
    });
    await eventually(() => pending !== undefined, 'the call');
    assert.equal((await withDeadline).status, 504, 'after its deadline');
    const others = Array.from({ length: 99 }, () => read(gateway));
    let active = '';
    while (active !== '99') {
      await wait(2);
      active = /^http_server_active_requests (\d+)$/m.exec((await gateway.metrics.render()).body)?.[1] ?? '';
    }
    sendJson(pending as unknown as ServerResponse, 200, { version: 1 });
    const responses = await Promise.all(others);
    assert.deepEqual(
      new Set(responses.map(({ status, version, xCache }) => `${status} ${version} ${xCache}`)),
      new Set(['200 1 coalesced']),
    );
    assert.equal(gateway.users.requests.length, 1);
    assert.equal((await read(gateway)).xCache, 'hit');
    assert.match(
      (await gateway.metrics.render()).body,
      /cache_requests_total\{http_route="\/cached\/\{id\}",outcome="coalesced"\} 99/,
    );
  });

  it('returns the stored response with its age, HEAD without a body, and 304 if the client has it', async (context) => {
    const { gateway, state } = await start(context);
    state.headers = { etag: '"7"', 'x-other': 'a', 'cache-control': 'max-age=60' };
    const miss = await read(gateway);
    assert.deepEqual([miss.xCache, miss.headers.age], ['miss', undefined]);
    const hit = await read(gateway);
    assert.deepEqual(
      [hit.xCache, hit.headers.age, hit.headers.etag, hit.headers['x-other']],
      ['hit', '0', '"7"', 'a'],
    );
    assert.equal(hit.text, miss.text);
    assert.notEqual(hit.headers['x-correlation-id'], miss.headers['x-correlation-id']);

    const head = await read(gateway, '/cached/1', {}, 'HEAD');
    assert.deepEqual(
      [head.status, head.text, head.headers['content-length']],
      [200, '', String(hit.text.length)],
    );
    for (const tag of ['"7"', 'W/"7"', '"1", "7"', '*']) {
      const notModified = await read(gateway, '/cached/1', { 'if-none-match': tag });
      assert.deepEqual(
        [notModified.status, notModified.text, notModified.headers.etag, notModified.xCache],
        [304, '', '"7"', 'hit'],
        tag,
      );
      assert.equal(notModified.headers['x-other'], undefined);
    }
    assert.equal((await read(gateway, '/cached/1', { 'if-none-match': '"8"' })).status, 200);
    assert.equal(gateway.users.requests.length, 1);
    assert.equal((await read(gateway, '/cached/2', {}, 'HEAD')).xCache, 'miss');
    assert.equal((await read(gateway, '/cached/2')).xCache, 'hit', 'HEAD fetches the complete response');
  });

  it('does not store a no-store response, and requests do not wait for each other', async (context) => {
    const { gateway, state } = await start(context);
    state.headers = { 'cache-control': 'no-store' };
    const responses = await Promise.all(Array.from({ length: 10 }, () => read(gateway)));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(gateway.users.requests.length, 10, 'one call per request');
    assert.equal((await read(gateway)).xCache, undefined);
    assert.equal(gateway.users.requests.length, 11);
  });

  it('stores only 200 by default and passes on other statuses', async (context) => {
    let status = 404;
    const { gateway } = await start(context, {
      users: (_incoming, response) => sendJson(response, status, { version: 0 }),
    });
    for (status of [404, 500, 203, 301]) assert.equal((await read(gateway)).status, status);
    assert.equal(gateway.users.requests.length, 4);
  });

  it('bypasses the cache for ranges, conditions, no-cache, cookies and unverified tokens', async (context) => {
    const { gateway } = await start(context);
    await read(gateway);
    for (const headers of [
      { range: 'bytes=0-1,3-4' },
      { range: 'bytes=0-1', 'if-range': '"1"' },
      { 'if-match': '"1"' },
      { 'cache-control': 'no-cache' },
      { 'cache-control': 'max-age=0' },
      { pragma: 'no-cache' },
      { cookie: 'session=1' },
      { authorization: 'Bearer unverified' },
    ]) {
      const before = gateway.users.requests.length;
      assert.equal((await read(gateway, '/cached/1', headers)).xCache, undefined, JSON.stringify(headers));
      assert.equal(gateway.users.requests.length, before + 1, JSON.stringify(headers));
    }
    assert.equal((await read(gateway)).xCache, 'hit');
  });

  it('separates responses by query and by the headers in Vary', async (context) => {
    const { gateway, state } = await start(context);
    await read(gateway, '/cached/1?a=1');
    assert.equal((await read(gateway, '/cached/1?a=2')).xCache, 'miss');

    state.headers = { vary: 'Accept-Language' };
    const inLanguage = async (language: string) =>
      (await read(gateway, '/cached/2', { 'accept-language': language })).xCache;
    const first = await Promise.all(['de', 'fr', 'de', 'fr'].map(inLanguage));
    assert.equal(first.filter((xCache) => xCache === 'miss').length, 2);
    assert.deepEqual(
      gateway.users.requests
        .slice(-2)
        .map(({ headers }) => headers['accept-language'])
        .toSorted(),
      ['de', 'fr'],
    );
    assert.deepEqual(await Promise.all(['de', 'fr'].map(inLanguage)), ['hit', 'hit']);
  });

  it('separates responses by caller', async (context) => {
    const { gateway } = await start(context, { door: { authentication: testVerifier } });
    for (const headers of [bearer('alice'), bearer('bob'), bearer('alice', 'admin')]) {
      const miss = await read(gateway, '/cached/1', headers);
      const hit = await read(gateway, '/cached/1', headers);
      assert.deepEqual([miss.xCache, hit.xCache], ['miss', 'hit']);
      assert.equal(JSON.parse(hit.text).for, headers.authorization);
    }
  });

  it('returns a stale response while it fetches a new one', async (context) => {
    const { gateway, state } = await start(context, {
      cache: '{ ttl_ms: 1, stale_while_revalidate_ms: 60000 }',
    });
    await read(gateway);
    state.version = 2;
    await wait(5);
    const stale = await read(gateway);
    assert.deepEqual([stale.version, stale.xCache], [1, 'stale']);
    await eventually(() => gateway.users.requests.length === 2, 'the second call');
    let version: number | undefined;
    for (let round = 0; version !== 2 && round < 100; round += 1) version = (await read(gateway)).version;
    assert.equal(version, 2);
  });

  it('revalidates a stale response and reuses it after a 304', async (context) => {
    const { gateway } = await start(context, {
      cache: shortTtl,
      users: (incoming, response) => {
        const headers = { etag: '"1"', 'x-read': String(incoming.headers['if-none-match']) };
        if (incoming.headers['if-none-match'] === '"1"') response.writeHead(304, headers).end();
        else sendJson(response, 200, { version: 1 }, headers);
      },
    });
    await read(gateway);
    await wait(5);
    const revalidated = await read(gateway);
    assert.deepEqual(
      [revalidated.status, revalidated.version, revalidated.headers['x-read'], revalidated.xCache],
      [200, 1, '"1"', 'miss'],
    );
    assert.equal(revalidated.headers['content-type'], 'application/json; charset=utf-8');
  });

  it('returns a stale response with its age when the service fails or its circuit is open', async (context) => {
    const { gateway } = await start(context, { cache: shortTtl, circuit: { volume: 3 } });
    await read(gateway);
    gateway.users.listener = (incoming) => void incoming.socket.destroy();
    await wait(5);
    for (let round = 0; round < 6; round += 1) {
      const stale = await read(gateway);
      assert.deepEqual(
        [stale.status, stale.version, stale.xCache, stale.headers.age],
        [200, 1, 'stale', '0'],
      );
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'open');
    assert.equal((await read(gateway, '/cached/2')).status, 503, 'without a stored response');
  });

  it('returns a stale response instead of a 5xx, but not instead of a 404', async (context) => {
    let status = 503;
    const { gateway, state } = await start(context, { cache: shortTtl });
    await read(gateway);
    gateway.users.listener = (incoming, response) => {
      if (status === 200) versioned(state)(incoming, response);
      else sendJson(response, status, {});
    };
    await wait(5);
    assert.equal((await read(gateway)).xCache, 'stale');
    status = 404;
    assert.equal((await read(gateway)).status, 404);
    status = 503;
    assert.equal((await read(gateway)).status, 503, 'the 404 removed the stored response');
  });

  it('returns no response older than stale_if_error_ms allows', async (context) => {
    const { gateway } = await start(context, { cache: '{ ttl_ms: 1, stale_if_error_ms: 0 }' });
    await read(gateway);
    await gateway.users.stop();
    await wait(5);
    assert.equal((await read(gateway)).status, 502);
  });

  it('passes on a response larger than max_bytes, with or without Content-Length', async (context) => {
    const large = JSON.stringify({ version: 'x'.repeat(2000) });
    for (const length of [undefined, large.length]) {
      const { gateway } = await start(context, {
        cache: '{ ttl_ms: 60000, max_bytes: 1000 }',
        users: (_incoming, response) => {
          if (length !== undefined) response.setHeader('content-length', length);
          response.write(large.slice(0, 500));
          response.end(large.slice(500));
        },
      });
      for (let round = 0; round < 3; round += 1) assert.equal((await read(gateway)).text, large);
      assert.equal(gateway.users.requests.length, 4, 'one extra call for the first attempt');
      assert.equal(gateway.upstreams.users.breaker.history.failures, 0);
    }
  });

  it('holds no more bytes than configured', async (context) => {
    const { gateway, state } = await start(context, { door: { cacheBytes: 20_000 } });
    state.headers = { 'x-filler': 'x'.repeat(1000) };
    for (let id = 0; id < 50; id += 1) await read(gateway, `/cached/${id}`);
    const bytes = Number(/^cache_bytes (\d+)$/m.exec((await gateway.metrics.render()).body)?.[1]);
    assert.ok(bytes > 5000 && bytes <= 20_000, `${bytes} bytes`);
    assert.equal((await read(gateway, '/cached/49')).xCache, 'hit');
    assert.equal((await read(gateway, '/cached/0')).xCache, 'miss');
  });
});

describe('a write through the gateway', () => {
  it('invalidates all responses of its upstream, on any route', async (context) => {
    const { gateway } = await start(context);
    assert.equal((await read(gateway)).version, 1);
    await sendRequest(`${gateway.url}/uncached/5`, { method: 'POST', body: '{}' });
    const after = await read(gateway);
    assert.deepEqual([after.version, after.xCache], [2, 'miss']);
    await sendRequest(`${gateway.url}/uncached/5`);
    assert.equal((await read(gateway)).xCache, 'hit', 'a read invalidates nothing');
  });

  it('is visible to later reads even if earlier reads end after it', async (context) => {
    const held: (() => void)[] = [];
    const { gateway, state } = await start(context, {
      users: (incoming, response) => {
        incoming.resume();
        const { version } = state;
        if (incoming.method === 'GET') held.push(() => sendJson(response, 200, { version }));
        else {
          held.push(() => {
            state.version += 1;
            sendJson(response, 200, { version: state.version });
          });
        }
      },
    });
    const before = read(gateway);
    await eventually(() => held.length === 1, 'the read before the write');
    const write = sendRequest(`${gateway.url}/uncached/1`, { method: 'POST', body: '{}' });
    await eventually(() => held.length === 2, 'the write');
    const during = read(gateway);
    await eventually(() => held.length === 3, 'the read during the write');
    const [endBefore, endWrite, endDuring] = held;
    endWrite?.();
    await write;
    endBefore?.();
    endDuring?.();
    assert.deepEqual([(await before).version, (await during).version], [1, 1]);
    const after = read(gateway);
    await eventually(() => held.length === 4, 'a new read');
    held[3]?.();
    assert.equal((await after).version, 2);
  });

  it('invalidates earlier responses before the first byte of its response is sent', async (context) => {
    const { gateway } = await start(context);
    await read(gateway);
    gateway.users.listener = (_incoming, response) => {
      response.writeHead(200);
      response.write('started');
    };
    const { body } = await fetch(`${gateway.url}/uncached/1`, { method: 'POST', body: '{}' });
    gateway.users.listener = versioned({ version: 2, headers: {} });
    const after = await read(gateway);
    assert.deepEqual([after.version, after.xCache], [2, 'miss']);
    await body?.cancel();
  });
});

describe('parts of an aggregate', () => {
  it('are returned stale with their age when the service is unavailable, in a no-store response', async (context) => {
    const { gateway } = await start(context, { cache: shortTtl });
    const both = async () => {
      const { status, text, headers } = await sendRequest(`${gateway.url}/both/1`);
      return { status, control: headers['cache-control'], data: JSON.parse(text).data };
    };
    assert.deepEqual(await both(), { status: 200, control: 'no-store', data: { a: 1, b: 9 } });
    await wait(1100);
    await gateway.users.stop();
    const { status, control, data } = await both();
    assert.deepEqual([status, control, data.a, data.b], [200, 'no-store', 1, 9]);
    assert.deepEqual(
      data.degraded.map(({ part, reason }: { part: string; reason: string }) => [part, reason]),
      [['a', 'unreachable']],
    );
    assert.ok(data.degraded[0].stale_seconds >= 1);
  });

  it('share stored responses with a route that sends the same headers', async (context) => {
    const { gateway } = await start(context);
    await read(gateway, '/cached/1', { accept: 'application/json' });
    assert.equal(JSON.parse((await sendRequest(`${gateway.url}/both/1`)).text).data.a, 1);
    assert.equal(gateway.users.requests.length, 1);
    await sendRequest(`${gateway.url}/uncached/1`, { method: 'POST', body: '{}' });
    assert.equal(JSON.parse((await sendRequest(`${gateway.url}/both/1`)).text).data.a, 2);
  });
});
