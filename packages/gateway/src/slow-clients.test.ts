import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createGate, testMetrics } from '@zerda/chassis/testing';
import { createLoadMonitor } from './load-monitor.ts';
import { createSlowClients, type SlowClientsOptions, type Transfer } from './slow-clients.ts';
import { ask, sendJson, startGateway, type TestGateway, tableWith, until } from './testing.ts';

/** Watches transfers on a clock that the test moves by whole seconds. */
function startWatch(context: TestContext, options: Partial<SlowClientsOptions> = {}) {
  let now = 1_000_000;
  context.mock.timers.enable({ apis: ['setInterval'] });
  context.mock.method(performance, 'now', () => now);
  const disconnected: string[] = [];
  const slowClients = createSlowClients({
    ...{ minBytesPerSecond: 500, max: 1000, maxPerAddress: 100, ...options },
    metrics: { slowClientDisconnected: (direction, reason) => disconnected.push(`${direction} ${reason}`) },
  });
  context.after(() => slowClients.stop());
  const ended: string[] = [];
  return {
    disconnected,
    ended,
    passSeconds(seconds: number): void {
      for (let tenth = 0; tenth < seconds * 10; tenth += 1) {
        now += 100;
        context.mock.timers.tick(100);
      }
    },
    watch(name: string, transfer: Partial<Transfer> = {}) {
      const client = { bytes: 0 };
      const stop = slowClients.watch({
        direction: 'request',
        network: () => name,
        bytes: () => client.bytes,
        isClientsTurn: () => true,
        end: () => ended.push(name),
        ...transfer,
      });
      function receive(bytes: number): void {
        client.bytes += bytes;
      }
      return { stop, receive };
    },
  };
}

describe('slow clients', () => {
  it('are disconnected below the rate, measured over ten seconds each', (context) => {
    const { watch, passSeconds, ended, disconnected } = startWatch(context);
    watch('silent');
    const quick = watch('quick');
    const late = watch('late');
    quick.receive(5000);
    late.receive(4999);
    passSeconds(9);
    assert.deepEqual(ended, []);
    passSeconds(1);
    assert.deepEqual(ended.sort(), ['late', 'silent']);
    quick.receive(4999);
    passSeconds(9);
    assert.deepEqual(ended.length, 2);
    passSeconds(1);
    assert.deepEqual(ended.at(-1), 'quick');
    assert.deepEqual(disconnected, ['request rate', 'request rate', 'request rate']);
  });

  it('have as long as they like where there is no rate', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { minBytesPerSecond: 0 });
    watch('silent');
    passSeconds(3600);
    assert.deepEqual(ended, []);
  });

  it('are not measured by time in which somebody else is waited for', (context) => {
    const { watch, passSeconds, ended } = startWatch(context);
    let clientsTurn = false;
    watch('waits for the service', { isClientsTurn: () => clientsTurn });
    passSeconds(60);
    clientsTurn = true;
    passSeconds(9);
    assert.deepEqual(ended, []);
    passSeconds(2);
    assert.deepEqual(ended, ['waits for the service']);
  });

  it('are so many at most, those that have been slow for longest go first', (context) => {
    const { watch, passSeconds, ended, disconnected } = startWatch(context, { max: 3 });
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      watch(name, { direction: 'response' });
      passSeconds(1);
    }
    assert.deepEqual(ended, ['a', 'b']);
    assert.deepEqual(disconnected, ['response total', 'response total']);
  });

  it('are fewer where an address has most of them, when they are too many', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { max: 4 });
    for (const name of ['lonely', 'many', 'many', 'many', 'many', 'many', 'other']) watch(name);
    passSeconds(1);
    assert.deepEqual(ended, ['many', 'many', 'many']);
  });

  it('are fewer for one address, and leave others alone', (context) => {
    const { watch, passSeconds, ended, disconnected } = startWatch(context, { maxPerAddress: 2 });
    for (const name of ['one', 'one', 'other', 'one', 'one']) watch(name);
    passSeconds(1);
    assert.deepEqual(ended, ['one', 'one']);
    assert.deepEqual(disconnected, ['request address', 'request address']);
  });

  it('are those that take more than a second: a burst of others is none of them', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { max: 1, maxPerAddress: 1 });
    const burst = Array.from({ length: 100 }, () => watch('one'));
    for (const { stop } of burst) stop();
    passSeconds(2);
    assert.deepEqual(ended, []);
  });
});

/** A watch in real time whose times are short. */
function watchImpatiently(context: TestContext, { graceMs }: { graceMs: number }) {
  const metrics = testMetrics();
  const slowClients = createSlowClients({
    ...{ minBytesPerSecond: 500, max: 1000, maxPerAddress: 100, slowMs: 50, graceMs },
    metrics: metrics.policies,
  });
  context.after(() => slowClients.stop());
  return { slowClients, metrics };
}

/** Begins a request whose body the test sends when it likes. */
function beginPost({ url }: TestGateway, { length }: { length: number }): ClientRequest {
  const headers = { 'content-type': 'application/json', 'content-length': length };
  const outgoing = request(`${url}/api/users`, { method: 'POST', agent: false, headers });
  outgoing.on('error', () => undefined).flushHeaders();
  return outgoing;
}

async function statusOf(outgoing: ClientRequest): Promise<number | undefined> {
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  incoming.resume();
  return incoming.statusCode;
}

/** Bytes of a body that is not received before it is passed on. */
const large = 256 * 1024;
const begin = 'x'.repeat(80 * 1024);

describe('clients that send slowly', () => {
  it('have all of the time for the response that others have, and are nothing to the service meanwhile', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) => void incoming.resume().on('end', () => sendJson(response, 201, {})),
      requestTimeoutMs: 600,
      upstreamTimeoutMs: 500,
      circuit: { volume: 1 },
    });
    const senders = Array.from({ length: 10 }, () => beginPost(gateway, { length: 4 }));
    const statuses = senders.map(statusOf);
    for (let piece = 0; piece < 3; piece += 1) {
      await wait(250);
      assert.equal(gateway.users.requests.length, 0, 'requests at the service');
      assert.equal(gateway.upstreams.users.inFlight, 0);
      for (const sender of senders) sender.write('x');
    }
    for (const sender of senders) sender.end('x');
    assert.deepEqual(
      await Promise.all(statuses),
      senders.map(() => 201),
    );
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('do not take the time of the service from a large body either', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) =>
        void incoming.resume().on('end', () => setTimeout(() => sendJson(response, 201, {}), 300)),
      upstreamTimeoutMs: 450,
      table: tableWith({ slow_ms: 10 }),
    });
    const sender = beginPost(gateway, { length: large });
    const status = statusOf(sender);
    sender.write(begin);
    await until(() => gateway.users.requests.length === 1, 'the request at the service');
    await wait(300);
    sender.end('x'.repeat(large - begin.length));
    assert.equal(await status, 201);
  });

  it('are not what the service is judged by when it runs out of the time that it was given', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) =>
        void incoming
          .resume()
          .on('end', () => sendJson(response, 504, {}, { 'x-problem': 'deadline-exceeded' })),
      circuit: { volume: 1 },
      table: tableWith({ slow_ms: 200 }),
    });
    const sender = beginPost(gateway, { length: large });
    const status = statusOf(sender);
    sender.write(begin);
    await wait(250);
    sender.end('x'.repeat(large - begin.length));
    assert.equal(await status, 504);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('fill neither a bulkhead nor the number of requests in flight', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 2, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, { maxInFlight: 2, door: { load } });
    const senders = Array.from({ length: 10 }, () => beginPost(gateway, { length: 100 }));
    for (const sender of senders) sender.write('x');
    for (let count = 0; count < 5; count += 1)
      assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    for (const sender of senders) sender.destroy();
  });

  it('are refused when they are done, while the gateway has too much to do', async (context) => {
    let busy = false;
    const load = createLoadMonitor({ maxInFlight: 1000, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      door: { load: { ...load, reason: () => (busy ? 'in_flight' : undefined) } },
    });
    const sender = beginPost(gateway, { length: 10 });
    const status = statusOf(sender);
    sender.write('x');
    await wait(20);
    busy = true;
    sender.end('x'.repeat(9));
    assert.equal(await status, 503);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('give the slots of large bodies to requests that are ready, once they have had a second', async (context) => {
    const gateway = await startGateway(context, {
      maxInFlight: 2,
      users: (incoming) => void incoming.resume(),
    });
    const senders = [0, 1].map(() => beginPost(gateway, { length: large }));
    const statuses = senders.map(statusOf);
    for (const sender of senders) sender.write(begin);
    await until(() => gateway.users.requests.length === 2, 'both at the service');
    gateway.users.behaviour = (_incoming, response) => sendJson(response, 200, {});
    const early = await ask(`${gateway.url}/api/users/1`);
    assert.deepEqual([early.status, early.headers['x-problem']], [503, 'upstream-overloaded']);
    await wait(1100);
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(await Promise.race(statuses), 408);
    assert.equal(gateway.upstreams.users.inFlight, 1, 'the other one goes on');
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    for (const sender of senders) sender.destroy();
  });

  it('keep the slot of a large body while it is the service that takes its time', async (context) => {
    const replaced: string[] = [];
    const slowClients = {
      watch: () => () => undefined,
      countReplaced: (direction: string) => replaced.push(direction),
      stop: () => undefined,
    };
    const gateway = await startGateway(context, {
      door: { slowClients },
      maxInFlight: 2,
      users: (incoming) => void incoming.pause(),
      table: tableWith({ body_limit_bytes: 2 ** 26 }),
    });
    const length = 32 * 1024 * 1024;
    const senders = [0, 1].map(() => beginPost(gateway, { length }));
    for (const sender of senders) sender.end(Buffer.alloc(length));
    await until(() => gateway.users.requests.length === 2, 'both at the service');
    await wait(2000);
    const { status, headers } = await ask(`${gateway.url}/api/users/1`);
    assert.deepEqual([status, headers['x-problem'], replaced], [503, 'upstream-overloaded', []]);
    for (const sender of senders) sender.destroy();
  });

  it('keep no circuit half-open', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming) => void incoming.socket.destroy(),
      circuit: { volume: 1, resetMs: 500 },
      upstreamTimeoutMs: 1500,
    });
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 502);
    await until(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    gateway.users.behaviour = (incoming, response) =>
      void incoming.resume().on('end', () => sendJson(response, 200, {}));
    const probes = (): number => gateway.users.requests.filter(({ method }) => method === 'POST').length;
    const senders: ClientRequest[] = [];
    while (probes() < 3) {
      const sender = beginPost(gateway, { length: large });
      sender.write(begin);
      senders.push(sender);
      await wait(60);
    }
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 503);
    await until(
      async () => (await ask(`${gateway.url}/api/users/1`)).status === 200,
      'a response for others',
    );
    for (const sender of senders) sender.destroy();
  });

  it('are forgotten when they have left before the body was asked for', async (context) => {
    let watched = 0;
    const slowClients = {
      watch() {
        watched += 1;
        return () => undefined;
      },
      countReplaced: () => undefined,
      stop: () => undefined,
    };
    const slow = createGate();
    const gateway = await startGateway(context, {
      door: {
        slowClients,
        limiters: {
          create: () => ({
            count: async () => {
              await slow.pass();
              return { allowed: true, remaining: 1, resetMs: 1 };
            },
          }),
        },
      },
    });
    const sender = beginPost(gateway, { length: 100 });
    sender.write('x');
    const [request] = (await once(gateway.server, 'request')) as [IncomingMessage];
    const left = new Promise((resolve) => request.socket.once('close', resolve));
    sender.destroy();
    await left;
    slow.open();
    await wait(20);
    assert.equal(watched, 0);
  });

  it('are disconnected with 408 when they do not keep up the rate', async (context) => {
    const { slowClients, metrics } = watchImpatiently(context, { graceMs: 100 });
    const gateway = await startGateway(context, {
      door: { slowClients },
      users: (incoming) => void incoming.resume(),
    });
    const small = beginPost(gateway, { length: 1000 });
    small.write('x');
    assert.equal(await statusOf(small), 408);
    const big = beginPost(gateway, { length: large });
    big.write(begin);
    assert.equal(await statusOf(big), 408);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    await until(() => gateway.upstreams.users.inFlight === 0, 'the slot');
    assert.match(
      (await metrics.render()).body,
      /slow_clients_disconnected_total\{direction="request",reason="rate"\} 2/,
    );
  });
});

/** A client that asks and does not read. */
function askWithoutReading(context: TestContext, { port }: TestGateway) {
  const socket = connect(port, '127.0.0.1');
  const reader = { socket, gone: false };
  socket
    .on('error', () => undefined)
    .on('close', () => {
      reader.gone = true;
    });
  socket.pause();
  socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n');
  context.after(() => socket.destroy());
  return reader;
}

/** Sends bytes, and returns the connection. */
function sendBytes(context: TestContext, { port }: TestGateway, bytes: string) {
  const socket = connect(port, '127.0.0.1');
  const connection = { socket, gone: false };
  socket
    .on('error', () => undefined)
    .on('close', () => {
      connection.gone = true;
    });
  context.after(() => socket.destroy());
  socket.write(bytes);
  return connection;
}

/** Bytes of the heap that are in use, without what could be collected. */
function usedHeap(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

describe('clients that send in pieces of one byte', () => {
  it('take no more memory than what they send', async (context) => {
    const gateway = await startGateway(context);
    const before = usedHeap();
    const received: Socket[] = [];
    gateway.server.on('connection', (socket) => received.push(socket));
    const head = 'POST /api/users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
    const bytes = `${head}${'1\r\nx\r\n'.repeat(20_000)}`;
    const connections = Array.from({ length: 20 }, () => sendBytes(context, gateway, bytes));
    await until(() => received.length === 20 && received.every(({ bytesRead }) => bytesRead >= bytes.length));
    assert.ok(connections.every(({ gone }) => !gone));
    const more = usedHeap() - before;
    assert.ok(more < 30 * 2 ** 20, `${Math.round(more / 2 ** 20)} MiB`);
  });
});

describe('clients that do not read', () => {
  /** More than the buffers of two sockets hold. */
  const much = Buffer.alloc(32 * 1024 * 1024);

  it('give their slots to requests that are ready, once they have had a second, and are not in flight', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 2, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      door: { load },
      maxInFlight: 2,
      users: (_incoming, response) => void response.end(much),
    });
    const readers = [0, 1].map(() => askWithoutReading(context, gateway));
    await until(() => gateway.users.requests.length === 2, 'both calls');
    gateway.users.behaviour = (_incoming, response) => sendJson(response, 200, {});
    await wait(1100);
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(gateway.upstreams.users.inFlight, 1);
    assert.equal((await ask(`${gateway.url}/api/orders`)).status, 200, 'neither counts as in flight');
    for (const { socket } of readers) socket.resume();
    await until(() => readers.some(({ gone }) => gone), 'the end of one');
    assert.equal(readers.filter(({ gone }) => gone).length, 1);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('get all of the response when they begin to read before anybody needs the slot', async (context) => {
    const gateway = await startGateway(context, {
      maxInFlight: 2,
      users: (_incoming, response) => void response.end(much),
    });
    const { socket } = askWithoutReading(context, gateway);
    await wait(1200);
    assert.equal((await ask(`${gateway.url}/api/orders`)).status, 200);
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.resume();
    await until(() => bytes > much.length, 'all of it');
  });

  it('are not in flight once all of the response is there for them', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      table: tableWith({ cache: { ttl_ms: 1000, max_bytes: 2 ** 26, request_headers: [] } }),
      door: { load, cacheBytes: 2 ** 27 },
      users: (_incoming, response) => void response.end(much),
    });
    const reader = askWithoutReading(context, gateway);
    await until(() => load.reason() === 'in_flight', 'the request');
    await until(() => load.reason() === undefined, 'the response');
    assert.equal((await ask(`${gateway.url}/api/orders`)).status, 200);
    assert.equal(reader.gone, false);
  });

  it('are not in flight with requests that wait behind one another on their connection', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 50, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      table: tableWith({ cache: { ttl_ms: 60_000, max_bytes: 2 ** 26, request_headers: [] } }),
      door: { load, cacheBytes: 2 ** 27, limitFactor: 0 },
      users: (_incoming, response) => void response.end(much),
    });
    let requests = 0;
    gateway.server.on('request', () => {
      requests += 1;
    });
    const first = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n';
    const { socket } = sendBytes(context, gateway, first);
    socket.pause();
    await until(
      () => load.reason() === undefined && gateway.users.requests.length === 1,
      'the first response',
    );
    socket.write('GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(60));
    await until(() => requests >= 61, 'the requests');
    await wait(50);
    assert.equal(load.reason(), undefined);
    assert.equal((await ask(`${gateway.url}/api/orders`)).status, 200);
  });

  it('are disconnected when many small responses wait behind one another on their connection', async (context) => {
    const { slowClients, metrics } = watchImpatiently(context, { graceMs: 500 });
    const gateway = await startGateway(context, { door: { slowClients, limitFactor: 0 } });
    let requests = 0;
    gateway.server.on('request', () => {
      requests += 1;
    });
    const { socket } = sendBytes(context, gateway, '');
    socket.pause();
    let sent = 0;
    async function areAllRead(): Promise<boolean> {
      socket.write('GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20));
      sent += 20;
      const giveUpAt = performance.now() + 200;
      while (requests < sent && performance.now() < giveUpAt) await wait(2);
      return requests >= sent;
    }
    while (await areAllRead());
    const counted = /slow_clients_disconnected_total\{direction="response",reason="rate"\} 1/;
    await until(async () => counted.test((await metrics.render()).body), 'the end of its connection');
  });

  it('do not keep what is theirs for ever', async (context) => {
    const { slowClients, metrics } = watchImpatiently(context, { graceMs: 100 });
    const gateway = await startGateway(context, { door: { slowClients } });
    const socket = connect(gateway.port, '127.0.0.1');
    context.after(() => socket.destroy());
    let gone = false;
    socket
      .on('error', () => undefined)
      .on('close', () => {
        gone = true;
      });
    socket.pause();
    // Pages of the gateway itself, more of them than the buffers of the sockets hold.
    socket.write('GET /docs HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(250));
    const counted = /slow_clients_disconnected_total\{direction="response",reason="rate"\} 1/;
    await until(async () => counted.test((await metrics.render()).body), 'the end of its connection');
    socket.resume();
    await until(() => gone, 'the reset');
  });
});
