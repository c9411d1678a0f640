import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { parseTable } from '../routes/read-table.ts';
import { ask, sendJson, startGateway, type TestGateway, type TestGatewayOptions, until } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

function tableOf(cache: string): ReturnType<typeof parseTable> {
  return parseTable(
    `
upstreams: { user-service: {}, order-service: {} }
routes:
  - { path: '/kept/{id}', methods: [GET, PUT], upstream: user-service, cache: ${cache}, timeout_ms: 2000, retries: 0 }
  - { path: '/asked/{id}', methods: [GET, POST], upstream: user-service }
aggregates:
  - path: /both/{id}
    parts:
      a: { upstream: user-service, path: '/kept/{id}', cache: ${cache} }
      b: { upstream: order-service, path: '/other/{id}' }
    answer: { a: { from: a.version }, b: { from: b.version } }
`,
    'table',
  );
}

const fresh = '{ ttl_ms: 60000 }';
const brief = '{ ttl_ms: 1, stale_if_error_ms: 60000 }';

interface Versions {
  /** Counts up with every write. */
  version: number;
  /** Headers of answers to reads. */
  headers: Record<string, string>;
}

/** Answers reads with a version and writes by raising it. */
function versioned(state: Versions): RequestListener {
  return (incoming, response) => {
    incoming.resume();
    if (incoming.method !== 'GET') state.version += 1;
    const { authorization = 'nobody' } = incoming.headers;
    sendJson(response, 200, { version: state.version, for: authorization }, state.headers);
  };
}

async function start(context: TestContext, options: TestGatewayOptions & { cache?: string } = {}) {
  const state: Versions = { version: 1, headers: {} };
  const { cache = fresh, ...others } = options;
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
  path = '/kept/1',
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
) {
  const answer = await ask(url + path, { headers, method });
  const { version } = answer.text === '' ? { version: undefined } : JSON.parse(answer.text);
  return { ...answer, version: version as number | undefined, said: answer.headers['x-cache'] };
}

describe('cache of a route', () => {
  it('asks once for what many want at the same time, although the first of them goes away', async (context) => {
    let pending: ServerResponse | undefined;
    const { gateway } = await start(context, {
      users: (_incoming, response) => {
        pending = response;
      },
    });
    const impatient = ask(`${gateway.url}/kept/1`, { headers: { 'x-request-timeout-ms': '100' } });
    await until(() => pending !== undefined, 'the call');
    assert.equal((await impatient).status, 504, 'it does not wait longer than it wants to');
    const others = Array.from({ length: 99 }, () => read(gateway));
    let active = '';
    while (active !== '99') {
      await wait(2);
      active = /^http_server_active_requests (\d+)$/m.exec((await gateway.metrics.render()).body)?.[1] ?? '';
    }
    sendJson(pending as unknown as ServerResponse, 200, { version: 1 });
    const answers = await Promise.all(others);
    assert.deepEqual(
      new Set(answers.map(({ status, version, said }) => `${status} ${version} ${said}`)),
      new Set(['200 1 coalesced']),
    );
    assert.equal(gateway.users.requests.length, 1);
    assert.equal((await read(gateway)).said, 'hit');
    assert.match(
      (await gateway.metrics.render()).body,
      /cache_requests_total\{http_route="\/kept\/\{id\}",outcome="coalesced"\} 99/,
    );
  });

  it('answers what it has with its age, to HEAD without a body, and 304 to who has it too', async (context) => {
    const { gateway, state } = await start(context);
    state.headers = { etag: '"7"', 'x-other': 'a', 'cache-control': 'max-age=60' };
    const miss = await read(gateway);
    assert.deepEqual([miss.said, miss.headers.age], ['miss', undefined]);
    const hit = await read(gateway);
    assert.deepEqual(
      [hit.said, hit.headers.age, hit.headers.etag, hit.headers['x-other']],
      ['hit', '0', '"7"', 'a'],
    );
    assert.equal(hit.text, miss.text);
    assert.notEqual(hit.headers['x-correlation-id'], miss.headers['x-correlation-id']);

    const head = await read(gateway, '/kept/1', {}, 'HEAD');
    assert.deepEqual(
      [head.status, head.text, head.headers['content-length']],
      [200, '', String(hit.text.length)],
    );
    for (const tag of ['"7"', 'W/"7"', '"1", "7"', '*']) {
      const same = await read(gateway, '/kept/1', { 'if-none-match': tag });
      assert.deepEqual([same.status, same.text, same.headers.etag, same.said], [304, '', '"7"', 'hit'], tag);
      assert.equal(same.headers['x-other'], undefined);
    }
    assert.equal((await read(gateway, '/kept/1', { 'if-none-match': '"8"' })).status, 200);
    assert.equal(gateway.users.requests.length, 1);
    assert.equal((await read(gateway, '/kept/2', {}, 'HEAD')).said, 'miss');
    assert.equal((await read(gateway, '/kept/2')).said, 'hit', 'HEAD has brought the whole');
  });

  it('does not keep what the service forbids to keep, and does not hold anybody up for it', async (context) => {
    const { gateway, state } = await start(context);
    state.headers = { 'cache-control': 'no-store' };
    const answers = await Promise.all(Array.from({ length: 10 }, () => read(gateway)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(gateway.users.requests.length, 10, 'each has asked for itself');
    assert.equal((await read(gateway)).said, undefined);
    assert.equal(gateway.users.requests.length, 11);
  });

  it('keeps no error and no other status, which the one who asked gets', async (context) => {
    let status = 404;
    const { gateway } = await start(context, {
      users: (_incoming, response) => sendJson(response, status, { version: 0 }),
    });
    for (status of [404, 500, 203, 301]) assert.equal((await read(gateway)).status, status);
    assert.equal(gateway.users.requests.length, 4);
  });

  it('goes past for what is about a part of the answer that is not kept, or must be new', async (context) => {
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
      { authorization: 'Bearer nobody-looked-at' },
    ]) {
      const before = gateway.users.requests.length;
      assert.equal((await read(gateway, '/kept/1', headers)).said, undefined, JSON.stringify(headers));
      assert.equal(gateway.users.requests.length, before + 1, JSON.stringify(headers));
    }
    assert.equal((await read(gateway)).said, 'hit');
  });

  it('tells queries apart, and what the service says the answer varies by', async (context) => {
    const { gateway, state } = await start(context);
    await read(gateway, '/kept/1?a=1');
    assert.equal((await read(gateway, '/kept/1?a=2')).said, 'miss');

    state.headers = { vary: 'Accept-Language' };
    const inLanguage = async (language: string) =>
      (await read(gateway, '/kept/2', { 'accept-language': language })).said;
    const first = await Promise.all(['de', 'fr', 'de', 'fr'].map(inLanguage));
    assert.equal(first.filter((said) => said === 'miss').length, 2);
    assert.deepEqual(
      gateway.users.requests
        .slice(-2)
        .map(({ headers }) => headers['accept-language'])
        .toSorted(),
      ['de', 'fr'],
    );
    assert.deepEqual(await Promise.all(['de', 'fr'].map(inLanguage)), ['hit', 'hit']);
  });

  it('is of one caller each', async (context) => {
    const { gateway } = await start(context, { door: { authentication: testVerifier } });
    for (const headers of [bearer('alice'), bearer('bob'), bearer('alice', 'admin')]) {
      const miss = await read(gateway, '/kept/1', headers);
      const hit = await read(gateway, '/kept/1', headers);
      assert.deepEqual([miss.said, hit.said], ['miss', 'hit']);
      assert.equal(JSON.parse(hit.text).for, headers.authorization);
    }
  });

  it('gives what is a little old while it fetches anew, and then the new', async (context) => {
    const { gateway, state } = await start(context, {
      cache: '{ ttl_ms: 1, stale_while_revalidate_ms: 60000 }',
    });
    await read(gateway);
    state.version = 2;
    await wait(5);
    const old = await read(gateway);
    assert.deepEqual([old.version, old.said], [1, 'stale']);
    await until(() => gateway.users.requests.length === 2, 'the new one');
    let now: number | undefined;
    for (let round = 0; now !== 2 && round < 100; round += 1) now = (await read(gateway)).version;
    assert.equal(now, 2);
  });

  it('asks whether what it has still holds, and goes on with it', async (context) => {
    const { gateway } = await start(context, {
      cache: brief,
      users: (incoming, response) => {
        const headers = { etag: '"1"', 'x-read': String(incoming.headers['if-none-match']) };
        if (incoming.headers['if-none-match'] === '"1"') response.writeHead(304, headers).end();
        else sendJson(response, 200, { version: 1 }, headers);
      },
    });
    await read(gateway);
    await wait(5);
    const again = await read(gateway);
    assert.deepEqual(
      [again.status, again.version, again.headers['x-read'], again.said],
      [200, 1, '"1"', 'miss'],
    );
    assert.equal(again.headers['content-type'], 'application/json; charset=utf-8');
  });

  it('gives what it has when the service fails, hangs or its circuit is open, with its age', async (context) => {
    const { gateway } = await start(context, { cache: brief, circuit: { volume: 3 } });
    await read(gateway);
    gateway.users.behaviour = (incoming) => void incoming.socket.destroy();
    await wait(5);
    for (let round = 0; round < 6; round += 1) {
      const old = await read(gateway);
      assert.deepEqual([old.status, old.version, old.said, old.headers.age], [200, 1, 'stale', '0']);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'open');
    assert.equal((await read(gateway, '/kept/2')).status, 503, 'what it does not have it does not make up');
  });

  it('gives the old answer for a 5xx, never for what the service says with another status', async (context) => {
    let status = 503;
    const { gateway, state } = await start(context, { cache: brief });
    await read(gateway);
    gateway.users.behaviour = (incoming, response) => {
      if (status === 200) versioned(state)(incoming, response);
      else sendJson(response, status, {});
    };
    await wait(5);
    assert.equal((await read(gateway)).said, 'stale');
    status = 404;
    assert.equal((await read(gateway)).status, 404);
    status = 503;
    assert.equal((await read(gateway)).status, 503, 'what is gone does not come back');
  });

  it('gives nothing that is older than it may be', async (context) => {
    const { gateway } = await start(context, { cache: '{ ttl_ms: 1, stale_if_error_ms: 0 }' });
    await read(gateway);
    await gateway.users.stop();
    await wait(5);
    assert.equal((await read(gateway)).status, 502);
  });

  it('passes on what is too large to be kept, whether its length is said or not', async (context) => {
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
      assert.equal(gateway.users.requests.length, 4, 'it is tried once');
      assert.equal(gateway.upstreams.users.breaker.history.failures, 0);
    }
  });

  it('holds no more bytes than it may', async (context) => {
    const { gateway, state } = await start(context, { door: { cacheBytes: 20_000 } });
    state.headers = { 'x-filler': 'x'.repeat(1000) };
    for (let id = 0; id < 50; id += 1) await read(gateway, `/kept/${id}`);
    const bytes = Number(/^cache_bytes (\d+)$/m.exec((await gateway.metrics.render()).body)?.[1]);
    assert.ok(bytes > 5000 && bytes <= 20_000, `${bytes} bytes`);
    assert.equal((await read(gateway, '/kept/49')).said, 'hit');
    assert.equal((await read(gateway, '/kept/0')).said, 'miss');
  });
});

describe('a write through the gateway', () => {
  it('makes old whatever was read of its service, by whichever route it goes', async (context) => {
    const { gateway } = await start(context);
    assert.equal((await read(gateway)).version, 1);
    await ask(`${gateway.url}/asked/5`, { method: 'POST', body: '{}' });
    const after = await read(gateway);
    assert.deepEqual([after.version, after.said], [2, 'miss']);
    await ask(`${gateway.url}/asked/5`);
    assert.equal((await read(gateway)).said, 'hit', 'a read makes nothing old');
  });

  it('is not hidden by a read that began before it or while it was under way', async (context) => {
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
    await until(() => held.length === 1, 'the read before');
    const write = ask(`${gateway.url}/asked/1`, { method: 'POST', body: '{}' });
    await until(() => held.length === 2, 'the write');
    const meanwhile = read(gateway);
    await until(() => held.length === 3, 'the read meanwhile');
    const [endBefore, endWrite, endMeanwhile] = held;
    endWrite?.();
    await write;
    endBefore?.();
    endMeanwhile?.();
    assert.deepEqual([(await before).version, (await meanwhile).version], [1, 1]);
    const after = read(gateway);
    await until(() => held.length === 4, 'a new read');
    held[3]?.();
    assert.equal((await after).version, 2);
  });

  it('has made old what was read before when the first byte of its answer is here', async (context) => {
    const { gateway } = await start(context);
    await read(gateway);
    gateway.users.behaviour = (_incoming, response) => {
      response.writeHead(200);
      response.write('begun');
    };
    const { body } = await fetch(`${gateway.url}/asked/1`, { method: 'POST', body: '{}' });
    gateway.users.behaviour = versioned({ version: 2, headers: {} });
    const after = await read(gateway);
    assert.deepEqual([after.version, after.said], [2, 'miss']);
    await body?.cancel();
  });
});

describe('parts of an aggregate', () => {
  it('are shown as they were, with their age, when they cannot be had; the answer says so and is not kept', async (context) => {
    const { gateway } = await start(context, { cache: brief });
    const both = async () => {
      const { status, text, headers } = await ask(`${gateway.url}/both/1`);
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

  it('are the same as answers of a route that sends the same headers, and as fresh', async (context) => {
    const { gateway } = await start(context);
    await read(gateway, '/kept/1', { accept: 'application/json' });
    assert.equal(JSON.parse((await ask(`${gateway.url}/both/1`)).text).data.a, 1);
    assert.equal(gateway.users.requests.length, 1);
    await ask(`${gateway.url}/asked/1`, { method: 'POST', body: '{}' });
    assert.equal(JSON.parse((await ask(`${gateway.url}/both/1`)).text).data.a, 2);
  });
});
