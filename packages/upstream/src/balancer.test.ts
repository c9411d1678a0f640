import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { recordingLogger, silentLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import fc from 'fast-check';
import { startServers, type TestServer } from '../testing/servers.ts';
import { type Balancer, type BalancerOptions, createBalancer } from './balancer.ts';

type Options = Partial<BalancerOptions> & { lookup?: (host: string) => Promise<string[]> };

/** Creates a balancer for these addresses of `service.test`. The test may change the array, which the lookups return. */
function createTestBalancer(
  context: TestContext,
  addresses: string[],
  port: number,
  options: Options = {},
): Balancer {
  const { lookup = async () => addresses, ...others } = options;
  const balancer = createBalancer({
    origin: `http://service.test:${port}`,
    lookups: { lookup, intervalMs: 5 },
    logger: silentLogger(),
    connections: 16,
    pipelining: 1,
    headersTimeout: 0,
    ...others,
  });
  context.after(() => balancer.destroy());
  return balancer;
}

async function get(
  balancer: Balancer,
  path = '/',
  options: Partial<Parameters<Balancer['request']>[0]> = {},
): Promise<string> {
  const { body } = await balancer.request({ path, method: 'GET', ...options });
  return body.text();
}

async function getMany(balancer: Balancer, count: number): Promise<void> {
  for (let call = 0; call < count; call += 1) await get(balancer);
}

const requestCounts = (servers: readonly TestServer[]) => servers.map(({ requests }) => requests.length);

const inFlight = (balancer: Balancer) => balancer.stats.addresses.map((address) => address.inFlight);

/** Returns the ejected addresses. */
const ejected = (balancer: Balancer) =>
  balancer.stats.addresses
    .filter(({ ejectedUntil }) => ejectedUntil !== undefined)
    .map(({ address }) => address);

/** Returns the remaining ejection time of an address in milliseconds, rounded to hundreds. */
function ejectedMs(balancer: Balancer, address: string): number | undefined {
  const stats = balancer.stats.addresses.find((candidate) => candidate.address === address);
  return stats?.ejectedUntil === undefined
    ? undefined
    : Math.round((stats.ejectedUntil - Date.now()) / 100) * 100;
}

/** Holds responses until the test calls the returned function. */
function holdResponses(server: TestServer): () => void {
  const held: ServerResponse[] = [];
  server.behavior = (_request, response) => void held.push(response);
  return () => {
    server.behavior = (_request, response) => void response.end('ok');
    for (const response of held.splice(0)) response.end('held');
  };
}

/** Stops a server and waits until the balancer has noticed that its connections are closed. */
async function kill(server: TestServer, balancer: Balancer): Promise<void> {
  const left = balancer.stats.connected - server.sockets.size;
  await server.stop();
  await eventually(() => balancer.stats.connected <= left);
}

/** Mocks the clock of ejections. */
function stopClock(context: TestContext): { now: number } {
  const clock = { now: performance.now() };
  context.mock.method(performance, 'now', () => clock.now);
  return clock;
}

/** Dispatches a request and records what its handler receives. */
function startDispatch(balancer: Balancer, options: Partial<Parameters<Balancer['dispatch']>[0]> = {}) {
  const seen = {
    abort: undefined as ((error?: Error) => void) | undefined,
    resume: undefined as (() => void) | undefined,
    status: undefined as number | undefined,
    headers: undefined as string[] | undefined,
    size: 0,
    error: undefined as Error | undefined,
    ended: false,
    accepted: true,
    onData: () => true,
  };
  seen.accepted = balancer.dispatch(
    { path: '/', method: 'GET', ...options },
    {
      onConnect(abort) {
        seen.abort = abort;
      },
      onHeaders(status, headers, resume) {
        Object.assign(seen, { status, headers: headers.map(String), resume });
        return true;
      },
      onData(chunk) {
        seen.size += chunk.length;
        return seen.onData();
      },
      onComplete() {
        seen.ended = true;
      },
      onError(error) {
        seen.error = error;
      },
    },
  );
  return seen;
}

describe('balancing', () => {
  it('distributes sequential and concurrent requests evenly', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = createTestBalancer(context, addresses, port);
    await getMany(balancer, 30);
    assert.deepEqual(requestCounts(servers), [10, 10, 10]);
    await Promise.all(Array.from({ length: 30 }, () => get(balancer)));
    assert.deepEqual(requestCounts(servers), [20, 20, 20]);
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
  });

  it('sends fewer requests to a slow address, counting until the end of the body', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [slow] = servers;
    assert.ok(slow);
    slow.behavior = (_request, response) => void response.write('an unfinished body');
    const balancer = createTestBalancer(context, addresses, port);
    const unfinished = startDispatch(balancer);
    await eventually(() => unfinished.size > 0);
    await getMany(balancer, 20);
    assert.deepEqual(requestCounts(servers), [1, 10, 10]);
    assert.deepEqual(inFlight(balancer), [1, 0, 0]);
    unfinished.abort?.(new Error('enough'));
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
  });

  it('prefers untried addresses, and adds the selected one to the set', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = createTestBalancer(context, addresses, port);
    for (let call = 0; call < 10; call += 1) {
      const tried = new Set<string>();
      for (let attempt = 0; attempt < 3; attempt += 1) await get(balancer, '/', { tried });
      assert.deepEqual([...tried].sort(), addresses);
    }
    assert.deepEqual(requestCounts(servers), [10, 10, 10]);
    // If all addresses were tried, one of them is used again.
    assert.equal(await get(balancer, '/', { tried: new Set(addresses) }), 'ok');
  });

  it('sends the Host of the origin, unless the headers contain another', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const balancer = createTestBalancer(context, addresses, port);
    await get(balancer);
    await get(balancer, '/', { headers: { host: 'other.test' } });
    const hosts = servers[0]?.requests.map(({ headers }) => headers.host);
    assert.deepEqual(hosts, [`service.test:${port}`, 'other.test']);
  });

  it('uses the host of the origin as TLS server name', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = createTestBalancer(context, ['127.0.0.1'], port, {
      origin: `https://service.test:${port}`,
      connect: presharedKey,
    });
    assert.equal(await get(balancer), `service.test:${port}`);
    assert.deepEqual(names, ['service.test']);
  });

  it('uses the configured TLS server name on one connection for requests with other Host headers (RFC 9110, section 4.3.4)', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = createTestBalancer(context, ['127.0.0.1'], port, {
      origin: `https://service.test:${port}`,
      connect: presharedKey,
      connections: 1,
    });
    for (const host of ['evil.example', 'service.test', '10.0.0.1', 'other.example:99', '[::1]'])
      assert.equal(await get(balancer, '/', { headers: { host } }), host);
    assert.deepEqual(names, ['service.test']);
  });

  it('sends no TLS server name if an IP address is configured (RFC 6066, section 3)', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = createTestBalancer(context, ['127.0.0.1'], port, {
      origin: `https://127.0.0.1:${port}`,
      connect: presharedKey,
      connections: 1,
    });
    for (const host of ['evil.example', 'other.example'])
      assert.equal(await get(balancer, '/', { headers: { host } }), host);
    assert.deepEqual(names, ['false']);
  });

  it('propagates backpressure of the handler', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const size = 64 * 1024 * 1024;
    const [server] = servers;
    assert.ok(server);
    server.behavior = (_request, response) => void response.end(Buffer.alloc(size));
    const balancer = createTestBalancer(context, addresses, port);
    const seen = startDispatch(balancer);
    seen.onData = () => false;
    await eventually(() => seen.size > 0);
    const { size: before } = seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(seen.size, before);
    seen.onData = () => true;
    seen.resume?.();
    await eventually(() => seen.ended);
    assert.equal(seen.size, size);

    // The same with the handlers of `request`.
    const { body } = await balancer.request({ path: '/', method: 'GET' });
    await eventually(() => body.readableLength > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(body.readableLength < size / 16, String(body.readableLength));
    assert.equal((await body.arrayBuffer()).byteLength, size);
  });

  it('returns false when it is busy, and emits drain later', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [server] = servers;
    assert.ok(server);
    const release = holdResponses(server);
    const balancer = createTestBalancer(context, addresses, port, { connections: 1 });
    let drained = 0;
    balancer.on('drain', () => {
      drained += 1;
    });
    // The first lookup has not finished.
    assert.equal(startDispatch(balancer).accepted, false);
    await eventually(() => server.requests.length === 1);
    assert.equal(drained, 1);
    assert.equal(startDispatch(balancer).accepted, false);
    assert.equal(balancer.stats.queued + balancer.stats.running, 2);
    release();
    await eventually(() => drained > 1);
    await eventually(() => inFlight(balancer)[0] === 0);
  });

  it('counts an upgraded connection as in flight until it closes', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [server] = servers;
    assert.ok(server);
    server.onUpgrade = (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    };
    const balancer = createTestBalancer(context, addresses, port);
    const { socket } = await balancer.upgrade({ path: '/', protocol: 'echo' });
    assert.deepEqual(inFlight(balancer), [1]);
    socket.destroy();
    await eventually(() => inFlight(balancer)[0] === 0);
  });
});

describe('address changes', () => {
  it('uses a new address, and completes the requests of a removed one', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [first, , third] = servers;
    assert.ok(first && third);
    const resolved = addresses.slice(0, 2);
    const balancer = createTestBalancer(context, resolved, port);
    await getMany(balancer, 10);
    assert.deepEqual(requestCounts(servers), [5, 5, 0]);
    assert.equal(first.sockets.size, 1);

    // One keep-alive connection to the first server is idle, others have a request.
    const release = holdResponses(first);
    const unfinished = [startDispatch(balancer), startDispatch(balancer), startDispatch(balancer)];
    await eventually(
      () =>
        first.requests.length > 5 && inFlight(balancer).reduce((a, b) => a + b) === first.requests.length - 5,
    );
    resolved.splice(0, 2, ...addresses.slice(1));
    await eventually(() => balancer.stats.addresses.some(({ address }) => address === third.address));
    const before = first.requests.length;
    await getMany(balancer, 20);
    assert.equal(first.requests.length, before);
    assert.equal(third.requests.length, 10);
    assert.deepEqual(balancer.stats.addresses.map(({ address }) => address).sort(), addresses.slice(1));

    release();
    await eventually(() => unfinished.every(({ ended }) => ended));
    // The connections to the removed address close.
    await eventually(() => first.sockets.size === 0);
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('closes idle connections to a removed address immediately', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const resolved = [...addresses];
    const balancer = createTestBalancer(context, resolved, port);
    await getMany(balancer, 4);
    assert.deepEqual(
      servers.map(({ sockets }) => sockets.size),
      [1, 1],
    );
    resolved.pop();
    await eventually(() => servers[1]?.sockets.size === 0);
    assert.equal(balancer.stats.connected, 1);
  });

  it('keeps its addresses while lookups fail', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    let lookups = 0;
    const balancer = createTestBalancer(context, addresses, port, {
      lookup: async () => {
        lookups += 1;
        if (lookups > 1) throw Object.assign(new Error('no name server'), { code: 'EAI_AGAIN' });
        return addresses;
      },
    });
    await get(balancer);
    await eventually(() => lookups > 3);
    await getMany(balancer, 9);
    assert.deepEqual(requestCounts(servers), [5, 5]);
  });

  it('fails with the code of the lookup until the first one succeeds', async (context) => {
    const { addresses, port } = await startServers(context, 1);
    let known = false;
    const balancer = createTestBalancer(context, addresses, port, {
      lookup: async () => {
        if (!known) throw Object.assign(new Error('unknown host'), { code: 'ENOTFOUND' });
        return addresses;
      },
    });
    await assert.rejects(get(balancer), { code: 'ENOTFOUND' });
    const seen = startDispatch(balancer);
    await eventually(() => seen.error !== undefined);
    assert.equal((seen.error as NodeJS.ErrnoException).code, 'ENOTFOUND');
    known = true;
    await eventually(() => balancer.stats.addresses.length > 0);
    assert.equal(await get(balancer), 'ok');
  });

  it('queues requests until the first lookup succeeds, and drops those that are aborted meanwhile', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    let respond: (addresses: string[]) => void = () => undefined;
    let lookups = 0;
    const lookup = (): Promise<string[]> => {
      lookups += 1;
      return new Promise((resolve) => {
        respond = resolve;
      });
    };
    const balancer = createTestBalancer(context, addresses, port, { lookups: { lookup } });
    const controller = new AbortController();
    const waiting = [get(balancer), get(balancer, '/', { signal: new AbortController().signal })];
    const aborted = get(balancer, '/', { signal: controller.signal });
    const abortedBefore = get(balancer, '/', { signal: AbortSignal.abort(new Error('canceled before')) });
    controller.abort(new Error('canceled'));
    await assert.rejects(aborted, { message: 'canceled' });
    await assert.rejects(abortedBefore, { message: 'canceled before' });
    assert.equal(balancer.stats.queued, 2);
    respond(addresses);
    assert.deepEqual(await Promise.all(waiting), ['ok', 'ok']);
    assert.equal(servers[0]?.requests.length, 2);
    assert.equal(lookups, 1);
  });
});

describe('failing addresses', () => {
  it('fails no request after the first error of an address, including keep-alive connections', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const { logger, lines } = recordingLogger();
    const balancer = createTestBalancer(context, addresses, port, { logger });
    await Promise.all(Array.from({ length: 12 }, () => get(balancer)));
    await servers[1]?.stop();
    let failed = 0;
    let failedLater = 0;
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        for (let call = 0; call < 20; call += 1) {
          const known = failed > 0;
          await get(balancer).catch(() => {
            failed += 1;
            if (known) failedLater += 1;
          });
        }
      }),
    );
    // Only requests that were just sent on keep-alive connections fail.
    assert.ok(failed <= 4, String(failed));
    assert.equal(failedLater, 0);
    assert.deepEqual(ejected(balancer), ['127.0.0.2']);
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
    assert.deepEqual(
      lines.map(({ msg, address }) => ({ msg, address })),
      [{ msg: 'address ejected', address: '127.0.0.2' }],
    );
  });

  it('looks up the addresses again at once if a connection is refused', async (context) => {
    const { addresses: served, port } = await startServers(context, 1);
    const addresses = ['127.0.0.9'];
    const lookup = async (): Promise<string[]> => [...addresses];
    const balancer = createTestBalancer(context, addresses, port, {
      lookups: { lookup, intervalMs: 3_600_000 },
    });
    await assert.rejects(get(balancer), { code: 'ECONNREFUSED' });
    addresses.splice(0, 1, ...served);
    await eventually(() =>
      get(balancer).then(
        () => true,
        () => false,
      ),
    );
  });

  it('sends a request to another address if the connection is refused', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = createTestBalancer(context, [...addresses, '127.0.0.3', '127.0.0.4'], port);
    const bodies = await Promise.all(
      Array.from({ length: 24 }, () => get(balancer, '/', { method: 'POST', body: streamOf('once') })),
    );
    assert.equal(bodies.length, 24);
    assert.equal(
      requestCounts(servers).reduce((a, b) => a + b),
      24,
    );
    assert.deepEqual(ejected(balancer), ['127.0.0.3', '127.0.0.4']);

    // Untried addresses are still preferred; tried ones are used if there is no other.
    const [first] = addresses;
    assert.ok(first);
    const before = servers[0]?.requests.length;
    const third = createTestBalancer(context, ['127.0.0.3', ...addresses], port);
    assert.equal(await get(third, '/', { tried: new Set([first]) }), 'ok');
    assert.deepEqual(ejected(third), ['127.0.0.3']);
    assert.equal(servers[0]?.requests.length, before);
    const other = createTestBalancer(context, [first, '127.0.0.3'], port);
    assert.equal(await get(other, '/', { tried: new Set([first]) }), 'ok');
  });

  it('doubles the ejection time at each failure, probes with one request, and recovers', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [, failing] = servers;
    assert.ok(failing);
    const { logger, lines } = recordingLogger();
    const balancer = createTestBalancer(context, addresses, port, { logger, lookup: async () => addresses });
    await get(balancer);
    const clock = stopClock(context);
    await kill(failing, balancer);
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      await runInContext({ correlationId: 'abc', deadline: Deadline.after(60_000) }, () =>
        getMany(balancer, 5),
      );
      assert.equal(ejectedMs(balancer, failing.address), seconds * 1000);
      clock.now += seconds * 1000 - 100;
      await getMany(balancer, 5);
      assert.equal(ejectedMs(balancer, failing.address), 100);
      clock.now += 100;
    }

    await failing.start();
    const release = holdResponses(failing);
    const concurrent = Array.from({ length: 9 }, () => get(balancer));
    await eventually(() => inFlight(balancer).join() === '0,1,0');
    await getMany(balancer, 4);
    // During the probe, other requests use the healthy addresses.
    assert.equal(failing.requests.length, 1);
    assert.deepEqual(ejected(balancer), [failing.address]);
    release();
    await Promise.all(concurrent);
    assert.deepEqual(ejected(balancer), []);
    await getMany(balancer, 9);
    assert.equal(failing.requests.length, 4);
    // A later failure starts with one second again.
    await kill(failing, balancer);
    await getMany(balancer, 4);
    assert.equal(ejectedMs(balancer, failing.address), 1000);
    assert.deepEqual(
      lines.map(({ msg, address, correlation_id }) => ({ msg, address, correlation_id })),
      ['address ejected', 'address recovered', 'address ejected'].map((msg) => ({
        msg,
        address: failing.address,
        correlation_id: undefined,
      })),
    );
  });

  it('probes with another request if the first probe was aborted', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, failing] = servers;
    assert.ok(failing);
    const balancer = createTestBalancer(context, addresses, port);
    await failing.stop();
    await getMany(balancer, 2);
    const clock = stopClock(context);
    clock.now += 1000;
    await failing.start();
    failing.behavior = () => undefined;
    const probe = startDispatch(balancer);
    await eventually(() => failing.requests.length === 1);
    probe.abort?.(new Error('canceled'));
    assert.deepEqual(ejected(balancer), [failing.address]);
    failing.behavior = (_request, response) => void response.end('ok');
    await getMany(balancer, 2);
    assert.equal(failing.requests.length, 2);
    assert.deepEqual(ejected(balancer), []);
  });

  it('counts concurrent failures as one', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, dying] = servers;
    assert.ok(dying);
    dying.behavior = () => undefined;
    const balancer = createTestBalancer(context, addresses, port);
    const calls = Array.from({ length: 16 }, () => get(balancer));
    await eventually(() => dying.requests.length === 8);
    const clock = stopClock(context);
    await dying.stop();
    const results = await Promise.allSettled(calls);
    // They were sent and may have had an effect, so the caller decides about retries.
    assert.equal(results.filter(({ status }) => status === 'rejected').length, 8);
    assert.equal(ejectedMs(balancer, dying.address), 1000);
    assert.equal(clock.now, performance.now());
  });

  it('never ejects the last address', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [server] = servers;
    assert.ok(server);
    const balancer = createTestBalancer(context, addresses, port);
    await get(balancer);
    await kill(server, balancer);
    for (let call = 0; call < 5; call += 1) await assert.rejects(get(balancer), { code: 'ECONNREFUSED' });
    assert.equal(inFlight(balancer)[0], 0);
    await server.start();
    assert.equal(await get(balancer), 'ok');
    assert.deepEqual(ejected(balancer), []);
  });

  it('uses the address whose ejection ends first when all are ejected', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [first, second, third] = servers;
    assert.ok(first && second && third);
    const balancer = createTestBalancer(context, addresses, port);
    await getMany(balancer, 3);
    const clock = stopClock(context);
    for (const server of [third, first]) {
      await kill(server, balancer);
      await getMany(balancer, 3);
      clock.now += 10;
    }
    await kill(second, balancer);
    await assert.rejects(get(balancer), { code: 'ECONNREFUSED' });
    assert.equal(ejected(balancer).length, 3);
    for (const server of [second, third]) await server.start();
    const before = requestCounts(servers);
    // The second address is untried, so it is preferred.
    await get(balancer, '/', { tried: new Set([third.address, first.address]) });
    assert.deepEqual(ejected(balancer), [first.address, third.address]);
    // The last address in use fails, so an ejected one is used.
    await kill(second, balancer);
    await get(balancer);
    assert.deepEqual(ejected(balancer), [first.address, second.address]);
    const after = requestCounts(servers).map((count, index) => count - (before[index] ?? 0));
    assert.deepEqual(after, [0, 1, 1]);
  });

  it('recovers all addresses soon after an outage of all', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = createTestBalancer(context, addresses, port);
    await getMany(balancer, 3);
    for (const server of servers) await kill(server, balancer);
    const clock = stopClock(context);
    for (let call = 0; call < 20; call += 1) await assert.rejects(get(balancer), { code: 'ECONNREFUSED' });
    for (const server of servers) await server.start();
    await get(balancer);
    clock.now += 2000;
    await getMany(balancer, 3);
    assert.deepEqual(ejected(balancer), []);
  });

  it('closes the idle connections of an address after a failure, and retries nothing that was sent', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, breaking] = servers;
    assert.ok(breaking);
    const balancer = createTestBalancer(context, addresses, port);
    const releases = servers.map(holdResponses);
    const calls = Array.from({ length: 8 }, () => get(balancer));
    await eventually(() => requestCounts(servers).join() === '4,4');
    for (const release of releases) release();
    await Promise.all(calls);
    assert.equal(breaking.sockets.size, 4);
    breaking.behavior = (request) => request.socket.resetAndDestroy();
    const tried = new Set(['127.0.0.1']);
    await assert.rejects(get(balancer, '/', { tried }), { code: 'ECONNRESET' });
    assert.deepEqual(requestCounts(servers), [4, 5]);
    assert.deepEqual(ejected(balancer), [breaking.address]);
    await eventually(() => breaking.sockets.size === 0);
    assert.equal(servers[0]?.sockets.size, 4);
  });

  it('completes requests in flight on an ejected address', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, breaking] = servers;
    assert.ok(breaking);
    const balancer = createTestBalancer(context, addresses, port);
    const release = holdResponses(breaking);
    const slow = get(balancer, '/', { tried: new Set(['127.0.0.1']) });
    await eventually(() => breaking.requests.length === 1);
    const held = breaking.behavior;
    breaking.behavior = (request) => request.socket.destroy();
    await assert.rejects(get(balancer, '/', { tried: new Set(['127.0.0.1']) }), { code: 'UND_ERR_SOCKET' });
    assert.deepEqual(ejected(balancer), [breaking.address]);
    breaking.behavior = held;
    release();
    assert.equal(await slow, 'held');
    // The request was sent before the failure, so its success does not end the ejection.
    assert.deepEqual(ejected(balancer), [breaking.address]);
  });

  it('moves queued requests to another address when an address is ejected', async (context) => {
    const silent = createTcpServer();
    const { port } = await startTlsServer(context, '127.0.0.1');
    await once(silent.listen(port, '127.0.0.2'), 'listening');
    const sockets: Socket[] = [];
    silent.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
    context.after(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const balancer = createTestBalancer(context, ['127.0.0.1', '127.0.0.2'], port, {
      origin: `https://service.test:${port}`,
      connect: { ...presharedKey, timeout: 100 },
      connections: 2,
    });
    const bodies = await Promise.all(
      Array.from({ length: 20 }, (_, call) =>
        get(balancer, '/', { method: 'POST', body: call % 2 === 0 ? 'text' : streamOf('text') }),
      ),
    );
    assert.deepEqual(new Set(bodies), new Set([`service.test:${port}text`]));
    assert.deepEqual(ejected(balancer), ['127.0.0.2']);
    // Ten requests were queued for two connections; one more connection may have been in progress.
    assert.ok(sockets.length <= 3, String(sockets.length));
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('ejects no address because of errors of callers or responses', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = createTestBalancer(context, addresses, port, { bodyTimeout: 20 });
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
    function setBehavior(behavior: TestServer['behavior']): void {
      for (const server of servers) server.behavior = behavior;
    }

    setBehavior((_request, response) => void response.writeHead(503).end());
    await getMany(balancer, 2);

    setBehavior(() => undefined);
    const controller = new AbortController();
    const call = get(balancer, '/', { signal: controller.signal });
    await eventually(() => requestCounts(servers).reduce((a, b) => a + b) === 3);
    controller.abort(reset);
    await assert.rejects(call, { code: 'ECONNRESET' });

    const seen = startDispatch(balancer);
    await eventually(() => seen.abort !== undefined);
    seen.abort?.(reset);
    await eventually(() => seen.error === reset);

    const body = new PassThrough();
    body.write('half of');
    const upload = get(balancer, '/', { method: 'POST', body });
    await eventually(() => requestCounts(servers).reduce((a, b) => a + b) === 5);
    body.destroy(reset);
    await assert.rejects(upload, { code: 'ECONNRESET' });

    await assert.rejects(get(balancer, '/', { headers: { 'bad name': '1' } }), {
      code: 'UND_ERR_INVALID_ARG',
    });
    await assert.rejects(get(balancer, '/', { headersTimeout: 20 }), { code: 'UND_ERR_HEADERS_TIMEOUT' });

    // A response head shows that the address works, even if the body fails.
    setBehavior((_request, response) => void response.write('half of'));
    await assert.rejects(get(balancer), { code: 'UND_ERR_BODY_TIMEOUT' });
    setBehavior((request, response) => {
      response.write('half of', () => request.socket.resetAndDestroy());
    });
    await assert.rejects(get(balancer), ({ code }) => ['ECONNRESET', 'UND_ERR_SOCKET'].includes(code));

    assert.deepEqual(ejected(balancer), []);
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('skips 100 Continue that no request expects (RFC 9110, section 15.2)', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = createTestBalancer(context, addresses, port);
    const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    for (const interim of [
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 100 Continue\r\nX-Note: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    ]) {
      for (const server of servers) server.behavior = (request) => void request.socket.write(interim + ok);
      for (const method of ['GET', 'POST'] as const)
        assert.equal(await get(balancer, '/', { method, body: method === 'POST' ? 'body' : null }), 'ok');
    }
    for (const server of servers)
      server.behavior = ({ socket }) => {
        socket.write('HTTP/1.1 100 Conti', () => setImmediate(() => socket.write(`nue\r\n\r\n${ok}`)));
      };
    assert.equal(await get(balancer), 'ok');
    assert.deepEqual(ejected(balancer), []);
  });

  it('ejects no address because of a malformed response', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = createTestBalancer(context, addresses, port);
    for (const response of [
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
      'no HTTP at all\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 20 OK\r\n\r\n',
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
    ]) {
      for (const server of servers) server.behavior = (request) => void request.socket.write(response);
      await assert.rejects(get(balancer), response.slice(0, 40));
      assert.deepEqual(ejected(balancer), [], response.slice(0, 40));
    }
    for (const server of servers) server.behavior = (_request, response) => void response.end('ok');
    assert.equal(await get(balancer), 'ok');
  });

  it('rejects a handler without onError or with the newer interface', async (context) => {
    const balancer = createTestBalancer(context, ['127.0.0.1'], 9);
    const ignore = (): undefined => undefined;
    for (const handler of [{ onConnect: ignore }, { onRequestStart: ignore, onResponseError: ignore }]) {
      assert.throws(() => balancer.dispatch({ path: '/', method: 'GET' }, handler), {
        code: 'UND_ERR_INVALID_ARG',
      });
    }
  });
});

describe('closing a balancer', () => {
  it('closes when all responses have ended, and rejects new requests', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [first] = servers;
    assert.ok(first);
    const release = holdResponses(first);
    let lookups = 0;
    const balancer = createTestBalancer(context, addresses, port, {
      lookup: async () => {
        lookups += 1;
        return addresses;
      },
    });
    // The early request waits for the lookup when the close starts. The close waits for both.
    const early = get(balancer, '/', { tried: new Set(['127.0.0.2']) });
    let closed = false;
    const closing = balancer.close().then(() => {
      closed = true;
    });
    await eventually(() => first.requests.length === 1);
    await assert.rejects(get(balancer), { code: 'UND_ERR_CLOSED' });
    assert.equal(closed, false);
    release();
    assert.equal(await early, 'held');
    await closing;
    await eventually(() => servers.every(({ sockets }) => sockets.size === 0));
    assert.equal(lookups, 1);
    await new Promise<void>((resolve) => balancer.close(resolve));
  });

  it('ends all requests and a pending close when it is destroyed', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2, () => undefined);
    const resolved = [...addresses];
    const balancer = createTestBalancer(context, resolved, port, { connections: 1 });
    // Requests in flight and queued, on an address in use and on a removed one.
    const calls = Array.from({ length: 6 }, () => get(balancer));
    await eventually(() => requestCounts(servers).join() === '1,1');
    resolved.pop();
    await eventually(() => balancer.stats.addresses.length === 1);
    const results = Promise.allSettled(calls);
    const closing = balancer.close();
    await balancer.destroy();
    await closing;
    assert.ok((await results).every(({ status }) => status === 'rejected'));
    await eventually(() => servers.every(({ sockets }) => sockets.size === 0));
    await assert.rejects(get(balancer), { code: 'UND_ERR_DESTROYED' });
    await new Promise<void>((resolve) => balancer.destroy(null, resolve));
    assert.deepEqual(inFlight(balancer), [0]);
  });

  it('ends requests that wait for the first lookup when it is destroyed', async (context) => {
    const balancer = createTestBalancer(context, [], 9, { lookup: () => new Promise(() => undefined) });
    const call = get(balancer);
    await balancer.destroy(new Error('over'));
    await assert.rejects(call, { message: 'over' });
  });

  it('ends requests of an undici client whose connection failed before', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1, () => undefined);
    const [server] = servers;
    assert.ok(server);
    await server.stop();
    const balancer = createTestBalancer(context, addresses, port, { connections: 1 });
    balancer.dispatch(
      { path: '/first', method: 'GET' },
      { onConnect: () => undefined, onError: () => void server.start() },
    );
    const queued = get(balancer, '/second');
    await eventually(() => server.requests.length === 1);
    assert.equal(balancer.stats.running, 1);
    await balancer.destroy();
    await assert.rejects(queued);
    await eventually(() => server.sockets.size === 0);
  });

  it('leaves no handle that keeps the process alive', async (context) => {
    const { addresses, port } = await startServers(context, 3);
    const balancer = createTestBalancer(context, addresses, port, {
      lookups: { lookup: async () => addresses },
    });
    await Promise.all(Array.from({ length: 6 }, () => get(balancer)));
    await balancer.close();
    await eventually(
      () => !process.getActiveResourcesInfo().some((name) => /Socket|Connect|Timeout/.test(name)),
    );
  });
});

describe('requests in flight', () => {
  it('are zero after any combination of outcomes', async (context) => {
    const behaviors: Record<string, TestServer['behavior']> = {
      '/text': (_request, response) => void response.end('ok'),
      '/fail': (_request, response) => void response.writeHead(500).end('no'),
      '/hang': () => undefined,
      '/reset': (request) => void request.socket.resetAndDestroy(),
      '/close': (request) => void request.socket.destroy(),
      '/cut': (request, response) => void response.write('half', () => request.socket.destroy()),
      '/stream': (_request, response) => {
        response.write('one');
        setTimeout(() => response.end('two'), 2);
      },
    };
    const { addresses, port } = await startServers(context, 3, (request, response) => {
      behaviors[request.url ?? '']?.(request, response);
    });
    // No server listens on 127.0.0.4.
    const candidates = [...addresses, '127.0.0.4'];
    const call = fc.record({
      path: fc.constantFrom(...Object.keys(behaviors)),
      handler: fc.constantFrom('request', 'dispatch'),
      abortAfterMs: fc.option(fc.integer({ min: 0, max: 10 })),
      upload: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        fc.subarray(candidates, { minLength: 1 }),
        async (calls, connections, targets) => {
          const balancer = createTestBalancer(context, targets, port, {
            connections,
            ejection: { baseMs: 3, maxMs: 6 },
          });
          let ends = 0;
          for (const { path, handler, abortAfterMs, upload } of calls) {
            const controller = new AbortController();
            const ms = path === '/hang' ? (abortAfterMs ?? 10) : abortAfterMs;
            if (ms !== null) setTimeout(() => controller.abort(new Error('enough')), ms);
            const options = { path, method: upload ? 'POST' : 'GET', body: upload ? streamOf('up') : null };
            if (handler === 'request') {
              get(balancer, path, { ...options, signal: controller.signal })
                .catch(() => undefined)
                .finally(() => (ends += 1));
            } else {
              const end = () => {
                ends += 1;
              };
              balancer.dispatch(options, {
                onConnect(abort) {
                  if (controller.signal.aborted) abort(new Error('enough'));
                  else controller.signal.addEventListener('abort', () => abort(new Error('enough')));
                },
                onComplete: end,
                onError: end,
              });
            }
          }
          await eventually(() => ends === calls.length);
          assert.ok(
            inFlight(balancer).every((count) => count === 0),
            String(inFlight(balancer)),
          );
          await eventually(() => balancer.stats.running === 0);
          assert.equal(balancer.stats.queued, 0);
          await balancer.close();
          assert.equal(balancer.stats.connected, 0);
        },
      ),
      { numRuns: 40 },
    );
  });
});

const presharedKey = {
  ciphers: 'PSK',
  maxVersion: 'TLSv1.2',
  pskCallback: () => ({ psk: Buffer.from('d731ef57be09e5204f0b205b60627028', 'hex'), identity: 'test' }),
  // With a pre-shared key there is no certificate to check.
  checkServerIdentity: () => undefined,
} as const;

/** Starts a TLS server without certificates. It responds with the Host and the body of the request. */
async function startTlsServer(
  context: TestContext,
  address: string,
): Promise<{ names: string[]; port: number }> {
  const names: string[] = [];
  const server = createTlsServer(
    { ciphers: 'PSK', maxVersion: 'TLSv1.2', pskCallback: () => presharedKey.pskCallback().psk },
    async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      response.end(`${request.headers.host}${body}`);
    },
  );
  server.on('secureConnection', (socket) => names.push(String(socket.servername)));
  await once(server.listen(0, address), 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { names, port: (server.address() as AddressInfo).port };
}

function streamOf(text: string): PassThrough {
  const stream = new PassThrough();
  stream.end(text);
  return stream;
}
