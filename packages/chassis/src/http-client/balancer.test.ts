import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { recordingLogger, silentLogger } from '../testing.ts';
import { type Balancer, type BalancerOptions, createBalancer } from './balancer.ts';
import { startServers, type TestServer, until } from './testing-servers.ts';

type Options = Partial<BalancerOptions> & { lookup?: (host: string) => Promise<string[]> };

/** A balancer to these addresses of `service.test`; the test may change the array, as a name server's answer. */
function open(context: TestContext, addresses: string[], port: number, options: Options = {}): Balancer {
  const { lookup = async () => addresses, ...others } = options;
  const balancer = createBalancer({
    origin: `http://service.test:${port}`,
    lookups: { lookup, everyMs: 5 },
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

const counts = (servers: readonly TestServer[]) => servers.map(({ requests }) => requests.length);

const inFlight = (balancer: Balancer) => balancer.stats.addresses.map((address) => address.inFlight);

/** Addresses out of use. */
const ejected = (balancer: Balancer) =>
  balancer.stats.addresses
    .filter(({ ejectedUntil }) => ejectedUntil !== undefined)
    .map(({ address }) => address);

/** Milliseconds that an address is still out of use, to the nearest hundred. */
function ejectedMs(balancer: Balancer, address: string): number | undefined {
  const found = balancer.stats.addresses.find((candidate) => candidate.address === address);
  return found?.ejectedUntil === undefined
    ? undefined
    : Math.round((found.ejectedUntil - Date.now()) / 100) * 100;
}

/** Keeps answers back until the test gives them. */
function holdAnswers(server: TestServer): () => void {
  const held: ServerResponse[] = [];
  server.behaviour = (_request, response) => void held.push(response);
  return () => {
    server.behaviour = (_request, response) => void response.end('ok');
    for (const response of held.splice(0)) response.end('held');
  };
}

/** Ends a server and waits until the balancer has seen its connections close. */
async function kill(server: TestServer, balancer: Balancer): Promise<void> {
  const left = balancer.stats.connected - server.sockets.size;
  await server.stop();
  await until(() => balancer.stats.connected <= left);
}

/** Sets the clock that ejections go by. */
function stopClock(context: TestContext): { now: number } {
  const clock = { now: performance.now() };
  context.mock.method(performance, 'now', () => clock.now);
  return clock;
}

function dispatched(balancer: Balancer, options: Partial<Parameters<Balancer['dispatch']>[0]> = {}) {
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
  it('gives every address the same share, one request at a time and many', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = open(context, addresses, port);
    await getMany(balancer, 30);
    assert.deepEqual(counts(servers), [10, 10, 10]);
    await Promise.all(Array.from({ length: 30 }, () => get(balancer)));
    assert.deepEqual(counts(servers), [20, 20, 20]);
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
  });

  it('gives less to an address that is slow, counting until the end of the body', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [slow] = servers;
    assert.ok(slow);
    slow.behaviour = (_request, response) => void response.write('the head is there, the end is not');
    const balancer = open(context, addresses, port);
    const unfinished = dispatched(balancer);
    await until(() => unfinished.size > 0);
    await getMany(balancer, 20);
    assert.deepEqual(counts(servers), [1, 10, 10]);
    assert.deepEqual(inFlight(balancer), [1, 0, 0]);
    unfinished.abort?.(new Error('enough'));
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
  });

  it('prefers addresses that the request has not been to, and notes the one it takes', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = open(context, addresses, port);
    for (let call = 0; call < 10; call += 1) {
      const tried = new Set<string>();
      for (let attempt = 0; attempt < 3; attempt += 1) await get(balancer, '/', { tried });
      assert.deepEqual([...tried].sort(), addresses);
    }
    assert.deepEqual(counts(servers), [10, 10, 10]);
    // When all have been tried, one of them it is.
    assert.equal(await get(balancer, '/', { tried: new Set(addresses) }), 'ok');
  });

  it('asks for the host of the origin unless the headers name another', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const balancer = open(context, addresses, port);
    await get(balancer);
    await get(balancer, '/', { headers: { host: 'other.test' } });
    const hosts = servers[0]?.requests.map(({ headers }) => headers.host);
    assert.deepEqual(hosts, [`service.test:${port}`, 'other.test']);
  });

  it('asks for the host of the origin in TLS too', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = open(context, ['127.0.0.1'], port, {
      origin: `https://service.test:${port}`,
      connect: presharedKey,
    });
    assert.equal(await get(balancer), `service.test:${port}`);
    assert.deepEqual(names, ['service.test']);
  });

  it('asks for the configured name in TLS when requests name other hosts, on one connection (RFC 9110, section 4.3.4)', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = open(context, ['127.0.0.1'], port, {
      origin: `https://service.test:${port}`,
      connect: presharedKey,
      connections: 1,
    });
    for (const host of ['evil.example', 'service.test', '10.0.0.1', 'other.example:99', '[::1]'])
      assert.equal(await get(balancer, '/', { headers: { host } }), host);
    assert.deepEqual(names, ['service.test']);
  });

  it('asks for no name in TLS when an IP address is configured, whatever requests name (RFC 6066, section 3)', async (context) => {
    const { names, port } = await startTlsServer(context, '127.0.0.1');
    const balancer = open(context, ['127.0.0.1'], port, {
      origin: `https://127.0.0.1:${port}`,
      connect: presharedKey,
      connections: 1,
    });
    for (const host of ['evil.example', 'other.example'])
      assert.equal(await get(balancer, '/', { headers: { host } }), host);
    assert.deepEqual(names, ['false']);
  });

  it('hands pauses on: no more is read than the handler takes', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const size = 64 * 1024 * 1024;
    const [server] = servers;
    assert.ok(server);
    server.behaviour = (_request, response) => void response.end(Buffer.alloc(size));
    const balancer = open(context, addresses, port);
    const seen = dispatched(balancer);
    seen.onData = () => false;
    await until(() => seen.size > 0);
    const { size: before } = seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(seen.size, before);
    seen.onData = () => true;
    seen.resume?.();
    await until(() => seen.ended);
    assert.equal(seen.size, size);

    // The same for the handlers of undici's own `request`.
    const { body } = await balancer.request({ path: '/', method: 'GET' });
    await until(() => body.readableLength > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(body.readableLength < size / 16, String(body.readableLength));
    assert.equal((await body.arrayBuffer()).byteLength, size);
  });

  it('says when it is busy, and when it no longer is', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [server] = servers;
    assert.ok(server);
    const release = holdAnswers(server);
    const balancer = open(context, addresses, port, { connections: 1 });
    let drained = 0;
    balancer.on('drain', () => {
      drained += 1;
    });
    // Nothing is known of the host yet.
    assert.equal(dispatched(balancer).accepted, false);
    await until(() => server.requests.length === 1);
    assert.equal(drained, 1);
    assert.equal(dispatched(balancer).accepted, false);
    assert.equal(balancer.stats.queued + balancer.stats.running, 2);
    release();
    await until(() => drained > 1);
    await until(() => inFlight(balancer)[0] === 0);
  });

  it('counts a connection that was upgraded until it closes', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [server] = servers;
    assert.ok(server);
    server.onUpgrade = (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    };
    const balancer = open(context, addresses, port);
    const { socket } = await balancer.upgrade({ path: '/', protocol: 'echo' });
    assert.deepEqual(inFlight(balancer), [1]);
    socket.destroy();
    await until(() => inFlight(balancer)[0] === 0);
  });
});

describe('addresses that come and go', () => {
  it('uses a new address, and lets one that is gone finish what it has', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [first, , third] = servers;
    assert.ok(first && third);
    const answer = addresses.slice(0, 2);
    const balancer = open(context, answer, port);
    await getMany(balancer, 10);
    assert.deepEqual(counts(servers), [5, 5, 0]);
    assert.equal(first.sockets.size, 1);

    // One kept-alive connection to the first is idle, another one has a request.
    const release = holdAnswers(first);
    const unfinished = [dispatched(balancer), dispatched(balancer), dispatched(balancer)];
    await until(
      () =>
        first.requests.length > 5 && inFlight(balancer).reduce((a, b) => a + b) === first.requests.length - 5,
    );
    answer.splice(0, 2, ...addresses.slice(1));
    await until(() => balancer.stats.addresses.some(({ address }) => address === third.address));
    const before = first.requests.length;
    await getMany(balancer, 20);
    assert.equal(first.requests.length, before);
    assert.equal(third.requests.length, 10);
    assert.deepEqual(balancer.stats.addresses.map(({ address }) => address).sort(), addresses.slice(1));

    release();
    await until(() => unfinished.every(({ ended }) => ended));
    // No connection keeps the old address alive.
    await until(() => first.sockets.size === 0);
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('closes idle connections to an address that is gone at once', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const answer = [...addresses];
    const balancer = open(context, answer, port);
    await getMany(balancer, 4);
    assert.deepEqual(
      servers.map(({ sockets }) => sockets.size),
      [1, 1],
    );
    answer.pop();
    await until(() => servers[1]?.sockets.size === 0);
    assert.equal(balancer.stats.connected, 1);
  });

  it('goes on with what it has while look-ups fail', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    let asked = 0;
    const balancer = open(context, addresses, port, {
      lookup: async () => {
        asked += 1;
        if (asked > 1) throw Object.assign(new Error('no name server'), { code: 'EAI_AGAIN' });
        return addresses;
      },
    });
    await get(balancer);
    await until(() => asked > 3);
    await getMany(balancer, 9);
    assert.deepEqual(counts(servers), [5, 5]);
  });

  it('fails with the code of the look-up when no address has ever been known, and works as soon as one is', async (context) => {
    const { addresses, port } = await startServers(context, 1);
    let known = false;
    const balancer = open(context, addresses, port, {
      lookup: async () => {
        if (!known) throw Object.assign(new Error('unknown host'), { code: 'ENOTFOUND' });
        return addresses;
      },
    });
    await assert.rejects(get(balancer), { code: 'ENOTFOUND' });
    const seen = dispatched(balancer);
    await until(() => seen.error !== undefined);
    assert.equal((seen.error as NodeJS.ErrnoException).code, 'ENOTFOUND');
    known = true;
    await until(() => balancer.stats.addresses.length > 0);
    assert.equal(await get(balancer), 'ok');
  });

  it('keeps requests until the first look-up answers, and forgets those that are aborted meanwhile', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    let answer: (addresses: string[]) => void = () => undefined;
    let asked = 0;
    const lookup = (): Promise<string[]> => {
      asked += 1;
      return new Promise((resolve) => {
        answer = resolve;
      });
    };
    const balancer = open(context, addresses, port, { lookups: { lookup } });
    const controller = new AbortController();
    const kept = [get(balancer), get(balancer, '/', { signal: new AbortController().signal })];
    const aborted = get(balancer, '/', { signal: controller.signal });
    const abortedBefore = get(balancer, '/', { signal: AbortSignal.abort(new Error('was gone')) });
    controller.abort(new Error('went away'));
    await assert.rejects(aborted, { message: 'went away' });
    await assert.rejects(abortedBefore, { message: 'was gone' });
    assert.equal(balancer.stats.queued, 2);
    answer(addresses);
    assert.deepEqual(await Promise.all(kept), ['ok', 'ok']);
    assert.equal(servers[0]?.requests.length, 2);
    assert.equal(asked, 1);
  });
});

describe('addresses that fail', () => {
  it('fails no request after the first error when an address dies, kept-alive connections included', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const { logger, lines } = recordingLogger();
    const balancer = open(context, addresses, port, { logger });
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
    // Only what was sent on a kept-alive connection at that very moment.
    assert.ok(failed <= 4, String(failed));
    assert.equal(failedLater, 0);
    assert.deepEqual(ejected(balancer), ['127.0.0.2']);
    assert.deepEqual(inFlight(balancer), [0, 0, 0]);
    assert.deepEqual(
      lines.map(({ msg, address }) => ({ msg, address })),
      [{ msg: 'address fails', address: '127.0.0.2' }],
    );
  });

  it('fails nothing at all by a connection that is refused: another address takes the request', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = open(context, [...addresses, '127.0.0.3', '127.0.0.4'], port);
    const bodies = await Promise.all(
      Array.from({ length: 24 }, () => get(balancer, '/', { method: 'POST', body: streamOf('once') })),
    );
    assert.equal(bodies.length, 24);
    assert.equal(
      counts(servers).reduce((a, b) => a + b),
      24,
    );
    assert.deepEqual(ejected(balancer), ['127.0.0.3', '127.0.0.4']);

    // It still prefers what the caller has not tried, which is better than none all the same.
    const [first] = addresses;
    assert.ok(first);
    const before = servers[0]?.requests.length;
    const third = open(context, ['127.0.0.3', ...addresses], port);
    assert.equal(await get(third, '/', { tried: new Set([first]) }), 'ok');
    assert.deepEqual(ejected(third), ['127.0.0.3']);
    assert.equal(servers[0]?.requests.length, before);
    const other = open(context, [first, '127.0.0.3'], port);
    assert.equal(await get(other, '/', { tried: new Set([first]) }), 'ok');
  });

  it('ejects for twice as long at each failure, tries again with one request, and comes back', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [, dead] = servers;
    assert.ok(dead);
    const { logger, lines } = recordingLogger();
    const balancer = open(context, addresses, port, { logger, lookup: async () => addresses });
    await get(balancer);
    const clock = stopClock(context);
    await kill(dead, balancer);
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      await runInContext({ correlationId: 'abc', deadline: Deadline.after(60_000) }, () =>
        getMany(balancer, 5),
      );
      assert.equal(ejectedMs(balancer, dead.address), seconds * 1000);
      clock.now += seconds * 1000 - 100;
      await getMany(balancer, 5);
      assert.equal(ejectedMs(balancer, dead.address), 100);
      clock.now += 100;
    }

    await dead.start();
    const release = holdAnswers(dead);
    const together = Array.from({ length: 9 }, () => get(balancer));
    await until(() => inFlight(balancer).join() === '0,1,0');
    await getMany(balancer, 4);
    // The others keep to the healthy ones for as long as the trial takes.
    assert.equal(dead.requests.length, 1);
    assert.deepEqual(ejected(balancer), [dead.address]);
    release();
    await Promise.all(together);
    assert.deepEqual(ejected(balancer), []);
    await getMany(balancer, 9);
    assert.equal(dead.requests.length, 4);
    // A later failure begins with a second again.
    await kill(dead, balancer);
    await getMany(balancer, 4);
    assert.equal(ejectedMs(balancer, dead.address), 1000);
    assert.deepEqual(
      lines.map(({ msg, address, correlation_id }) => ({ msg, address, correlation_id })),
      ['address fails', 'address answers again', 'address fails'].map((msg) => ({
        msg,
        address: dead.address,
        correlation_id: undefined,
      })),
    );
  });

  it('tries again with another request when the first one was given up', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, dead] = servers;
    assert.ok(dead);
    const balancer = open(context, addresses, port);
    await dead.stop();
    await getMany(balancer, 2);
    const clock = stopClock(context);
    clock.now += 1000;
    await dead.start();
    dead.behaviour = () => undefined;
    const trial = dispatched(balancer);
    await until(() => dead.requests.length === 1);
    trial.abort?.(new Error('went away'));
    assert.deepEqual(ejected(balancer), [dead.address]);
    dead.behaviour = (_request, response) => void response.end('ok');
    await getMany(balancer, 2);
    assert.equal(dead.requests.length, 2);
    assert.deepEqual(ejected(balancer), []);
  });

  it('counts many failures of one moment as one', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, dying] = servers;
    assert.ok(dying);
    dying.behaviour = () => undefined;
    const balancer = open(context, addresses, port);
    const calls = Array.from({ length: 16 }, () => get(balancer));
    await until(() => dying.requests.length === 8);
    const clock = stopClock(context);
    await dying.stop();
    const results = await Promise.allSettled(calls);
    // Those were sent and may have had their effect: whether to repeat them is for the caller to say.
    assert.equal(results.filter(({ status }) => status === 'rejected').length, 8);
    assert.equal(ejectedMs(balancer, dying.address), 1000);
    assert.equal(clock.now, performance.now());
  });

  it('never ejects the last address', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1);
    const [only] = servers;
    assert.ok(only);
    const balancer = open(context, addresses, port);
    await get(balancer);
    await kill(only, balancer);
    for (let call = 0; call < 5; call += 1) await assert.rejects(get(balancer), { code: 'ECONNREFUSED' });
    assert.equal(inFlight(balancer)[0], 0);
    await only.start();
    assert.equal(await get(balancer), 'ok');
    assert.deepEqual(ejected(balancer), []);
  });

  it('uses the address whose ejection ends first when all are ejected', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const [first, second, third] = servers;
    assert.ok(first && second && third);
    const balancer = open(context, addresses, port);
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
    const before = counts(servers);
    // It was tried last of all, so it is in the others' way.
    await get(balancer, '/', { tried: new Set([third.address, first.address]) });
    assert.deepEqual(ejected(balancer), [first.address, third.address]);
    // The last one in use fails: one that is ejected may live.
    await kill(second, balancer);
    await get(balancer);
    assert.deepEqual(ejected(balancer), [first.address, second.address]);
    const after = counts(servers).map((count, index) => count - (before[index] ?? 0));
    assert.deepEqual(after, [0, 1, 1]);
  });

  it('has all addresses back soon after an outage of all', async (context) => {
    const { servers, addresses, port } = await startServers(context, 3);
    const balancer = open(context, addresses, port);
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

  it('drops the idle connections of an address that breaks one, and repeats nothing that was sent', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, breaking] = servers;
    assert.ok(breaking);
    const balancer = open(context, addresses, port);
    const releases = servers.map(holdAnswers);
    const calls = Array.from({ length: 8 }, () => get(balancer));
    await until(() => counts(servers).join() === '4,4');
    for (const release of releases) release();
    await Promise.all(calls);
    assert.equal(breaking.sockets.size, 4);
    breaking.behaviour = (request) => request.socket.resetAndDestroy();
    const tried = new Set(['127.0.0.1']);
    await assert.rejects(get(balancer, '/', { tried }), { code: 'ECONNRESET' });
    assert.deepEqual(counts(servers), [4, 5]);
    assert.deepEqual(ejected(balancer), [breaking.address]);
    await until(() => breaking.sockets.size === 0);
    assert.equal(servers[0]?.sockets.size, 4);
  });

  it('lets requests in flight on an ejected address end in peace', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [, breaking] = servers;
    assert.ok(breaking);
    const balancer = open(context, addresses, port);
    const release = holdAnswers(breaking);
    const slow = get(balancer, '/', { tried: new Set(['127.0.0.1']) });
    await until(() => breaking.requests.length === 1);
    const held = breaking.behaviour;
    breaking.behaviour = (request) => request.socket.destroy();
    await assert.rejects(get(balancer, '/', { tried: new Set(['127.0.0.1']) }), { code: 'UND_ERR_SOCKET' });
    assert.deepEqual(ejected(balancer), [breaking.address]);
    breaking.behaviour = held;
    release();
    assert.equal(await slow, 'held');
    // It was sent before the failure and says nothing about what has been since.
    assert.deepEqual(ejected(balancer), [breaking.address]);
  });

  it('moves requests on that wait for a connection, instead of letting each find out for itself', async (context) => {
    const silent = createTcpServer();
    const { port } = await startTlsServer(context, '127.0.0.1');
    await once(silent.listen(port, '127.0.0.2'), 'listening');
    const sockets: Socket[] = [];
    silent.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
    context.after(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const balancer = open(context, ['127.0.0.1', '127.0.0.2'], port, {
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
    // Ten requests waited for the two connections; there is one more that was under way.
    assert.ok(sockets.length <= 3, String(sockets.length));
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('is not misled by what callers do, nor by answers', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = open(context, addresses, port, { bodyTimeout: 20 });
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
    function all(behaviour: TestServer['behaviour']): void {
      for (const server of servers) server.behaviour = behaviour;
    }

    all((_request, response) => void response.writeHead(503).end());
    await getMany(balancer, 2);

    all(() => undefined);
    const controller = new AbortController();
    const call = get(balancer, '/', { signal: controller.signal });
    await until(() => counts(servers).reduce((a, b) => a + b) === 3);
    controller.abort(reset);
    await assert.rejects(call, { code: 'ECONNRESET' });

    const seen = dispatched(balancer);
    await until(() => seen.abort !== undefined);
    seen.abort?.(reset);
    await until(() => seen.error === reset);

    const body = new PassThrough();
    body.write('half of');
    const upload = get(balancer, '/', { method: 'POST', body });
    await until(() => counts(servers).reduce((a, b) => a + b) === 5);
    body.destroy(reset);
    await assert.rejects(upload, { code: 'ECONNRESET' });

    await assert.rejects(get(balancer, '/', { headers: { 'bad name': '1' } }), {
      code: 'UND_ERR_INVALID_ARG',
    });
    await assert.rejects(get(balancer, '/', { headersTimeout: 20 }), { code: 'UND_ERR_HEADERS_TIMEOUT' });

    // The head of an answer is proof of life, whatever becomes of the rest.
    all((_request, response) => void response.write('half of'));
    await assert.rejects(get(balancer), { code: 'UND_ERR_BODY_TIMEOUT' });
    all((request, response) => {
      response.write('half of', () => request.socket.resetAndDestroy());
    });
    await assert.rejects(get(balancer), ({ code }) => ['ECONNRESET', 'UND_ERR_SOCKET'].includes(code));

    assert.deepEqual(ejected(balancer), []);
    assert.deepEqual(inFlight(balancer), [0, 0]);
  });

  it('skips 100 Continue that no request expects (RFC 9110, section 15.2)', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = open(context, addresses, port);
    const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    for (const interim of [
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 100 Continue\r\nX-Note: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    ]) {
      for (const server of servers) server.behaviour = (request) => void request.socket.write(interim + ok);
      for (const method of ['GET', 'POST'] as const)
        assert.equal(await get(balancer, '/', { method, body: method === 'POST' ? 'body' : null }), 'ok');
    }
    for (const server of servers)
      server.behaviour = ({ socket }) => {
        socket.write('HTTP/1.1 100 Conti', () => setImmediate(() => socket.write(`nue\r\n\r\n${ok}`)));
      };
    assert.equal(await get(balancer), 'ok');
    assert.deepEqual(ejected(balancer), []);
  });

  it('ejects no address for a response that cannot be understood', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const balancer = open(context, addresses, port);
    for (const response of [
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
      'no HTTP at all\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 20 OK\r\n\r\n',
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
    ]) {
      for (const server of servers) server.behaviour = (request) => void request.socket.write(response);
      await assert.rejects(get(balancer), response.slice(0, 40));
      assert.deepEqual(ejected(balancer), [], response.slice(0, 40));
    }
    for (const server of servers) server.behaviour = (_request, response) => void response.end('ok');
    assert.equal(await get(balancer), 'ok');
  });

  it('refuses a handler that would not hear of errors, or is of the newer kind', async (context) => {
    const balancer = open(context, ['127.0.0.1'], 9);
    const ignore = (): undefined => undefined;
    for (const handler of [{ onConnect: ignore }, { onRequestStart: ignore, onResponseError: ignore }]) {
      assert.throws(() => balancer.dispatch({ path: '/', method: 'GET' }, handler), {
        code: 'UND_ERR_INVALID_ARG',
      });
    }
  });
});

describe('the end of a balancer', () => {
  it('closes when all answers have ended, and takes no more requests', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2);
    const [first] = servers;
    assert.ok(first);
    const release = holdAnswers(first);
    let asked = 0;
    const balancer = open(context, addresses, port, {
      lookup: async () => {
        asked += 1;
        return addresses;
      },
    });
    // The one waits for the look-up when the close begins, which waits for both.
    const early = get(balancer, '/', { tried: new Set(['127.0.0.2']) });
    let closed = false;
    const closing = balancer.close().then(() => {
      closed = true;
    });
    await until(() => first.requests.length === 1);
    await assert.rejects(get(balancer), { code: 'UND_ERR_CLOSED' });
    assert.equal(closed, false);
    release();
    assert.equal(await early, 'held');
    await closing;
    await until(() => servers.every(({ sockets }) => sockets.size === 0));
    assert.equal(asked, 1);
    await new Promise<void>((resolve) => balancer.close(resolve));
  });

  it('ends everything when it is destroyed, a close that waits included', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2, () => undefined);
    const answer = [...addresses];
    const balancer = open(context, answer, port, { connections: 1 });
    // In flight and queued, on an address in use and on one that is leaving.
    const calls = Array.from({ length: 6 }, () => get(balancer));
    await until(() => counts(servers).join() === '1,1');
    answer.pop();
    await until(() => balancer.stats.addresses.length === 1);
    const results = Promise.allSettled(calls);
    const closing = balancer.close();
    await balancer.destroy();
    await closing;
    assert.ok((await results).every(({ status }) => status === 'rejected'));
    await until(() => servers.every(({ sockets }) => sockets.size === 0));
    await assert.rejects(get(balancer), { code: 'UND_ERR_DESTROYED' });
    await new Promise<void>((resolve) => balancer.destroy(null, resolve));
    assert.deepEqual(inFlight(balancer), [0]);
  });

  it('ends requests that wait for the first look-up when it is destroyed', async (context) => {
    const balancer = open(context, [], 9, { lookup: () => new Promise(() => undefined) });
    const call = get(balancer);
    await balancer.destroy(new Error('over'));
    await assert.rejects(call, { message: 'over' });
  });

  it('ends what a client does whose connection had failed before', async (context) => {
    const { servers, addresses, port } = await startServers(context, 1, () => undefined);
    const [server] = servers;
    assert.ok(server);
    await server.stop();
    const balancer = open(context, addresses, port, { connections: 1 });
    balancer.dispatch(
      { path: '/first', method: 'GET' },
      { onConnect: () => undefined, onError: () => void server.start() },
    );
    const queued = get(balancer, '/second');
    await until(() => server.requests.length === 1);
    assert.equal(balancer.stats.running, 1);
    await balancer.destroy();
    await assert.rejects(queued);
    await until(() => server.sockets.size === 0);
  });

  it('leaves nothing that keeps the process alive', async (context) => {
    const { addresses, port } = await startServers(context, 3);
    const balancer = open(context, addresses, port, { lookups: { lookup: async () => addresses } });
    await Promise.all(Array.from({ length: 6 }, () => get(balancer)));
    await balancer.close();
    await until(() => !process.getActiveResourcesInfo().some((name) => /Socket|Connect|Timeout/.test(name)));
  });
});

describe('requests in flight', () => {
  it('are none after any mix of ends', async (context) => {
    const behaviours: Record<string, TestServer['behaviour']> = {
      '/answer': (_request, response) => void response.end('ok'),
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
      behaviours[request.url ?? '']?.(request, response);
    });
    // Nobody listens there.
    const answers = [...addresses, '127.0.0.4'];
    const call = fc.record({
      path: fc.constantFrom(...Object.keys(behaviours)),
      handler: fc.constantFrom('request', 'dispatch'),
      abortAfterMs: fc.option(fc.integer({ min: 0, max: 10 })),
      upload: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        fc.subarray(answers, { minLength: 1 }),
        async (calls, connections, now) => {
          const balancer = open(context, now, port, { connections, ejection: { firstMs: 3, longestMs: 6 } });
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
          await until(() => ends === calls.length);
          assert.ok(
            inFlight(balancer).every((count) => count === 0),
            String(inFlight(balancer)),
          );
          await until(() => balancer.stats.running === 0);
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
  // There is no certificate that could name anybody.
  checkServerIdentity: () => undefined,
} as const;

/** A TLS server without certificates; it answers with the host it was asked for and the body it got. */
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
