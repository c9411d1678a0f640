import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { sendRequest } from '@zerda/chassis/testing/http';
import { createGate, testMetrics } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway, type TestGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { createPolicyMetrics } from '../metrics/policy-metrics.ts';
import { createLoadMonitor } from './load-monitor.ts';
import { createSlowClients, type SlowClientsOptions, type Transfer } from './slow-clients.ts';

/** Creates a watch on a mock clock that the test advances by whole seconds. */
function startWatch(context: TestContext, options: Partial<SlowClientsOptions> = {}) {
  let now = 1_000_000;
  context.mock.timers.enable({ apis: ['setInterval', 'setImmediate'] });
  context.mock.method(performance, 'now', () => now);
  const disconnected: string[] = [];
  const slowClients = createSlowClients({
    minBytesPerSecond: 500,
    max: 1000,
    maxPerAddress: 100,
    ...options,
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
        isWaitingForClient: () => true,
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
  it('are disconnected below the rate, measured over intervals of ten seconds', (context) => {
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

  it('are not disconnected when there is no minimum rate', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { minBytesPerSecond: 0 });
    watch('silent');
    passSeconds(3600);
    assert.deepEqual(ended, []);
  });

  it('are not measured while the transfer waits for the upstream', (context) => {
    const { watch, passSeconds, ended } = startWatch(context);
    let clientsTurn = false;
    watch('waits for the service', { isWaitingForClient: () => clientsTurn });
    passSeconds(60);
    clientsTurn = true;
    passSeconds(9);
    assert.deepEqual(ended, []);
    passSeconds(2);
    assert.deepEqual(ended, ['waits for the service']);
  });

  it('are limited in number; the longest-waiting are disconnected first', (context) => {
    const { watch, passSeconds, ended, disconnected } = startWatch(context, { max: 3 });
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      watch(name, { direction: 'response' });
      passSeconds(1);
    }
    assert.deepEqual(ended, ['a', 'b']);
    assert.deepEqual(disconnected, ['response total', 'response total']);
  });

  it('are disconnected from the address with the most slow clients when there are too many', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { max: 4 });
    for (const name of ['lonely', 'many', 'many', 'many', 'many', 'many', 'other']) watch(name);
    passSeconds(1);
    assert.deepEqual(ended, ['many', 'many', 'many']);
  });

  it('are limited per address without affecting other addresses', (context) => {
    const { watch, passSeconds, ended, disconnected } = startWatch(context, { maxPerAddress: 2 });
    for (const name of ['one', 'one', 'other', 'one', 'one']) watch(name);
    passSeconds(1);
    assert.deepEqual(ended, ['one', 'one']);
    assert.deepEqual(disconnected, ['request address', 'request address']);
  });

  it('are those that take more than a second; a burst of faster clients does not count', (context) => {
    const { watch, passSeconds, ended } = startWatch(context, { max: 1, maxPerAddress: 1 });
    const burst = Array.from({ length: 100 }, () => watch('one'));
    for (const { stop } of burst) stop();
    passSeconds(2);
    assert.deepEqual(ended, []);
  });
});

/** Creates a watch in real time with short times. */
function createFastWatch(context: TestContext, { graceMs }: { graceMs: number }) {
  const metrics = testMetrics();
  const slowClients = createSlowClients({
    minBytesPerSecond: 500,
    max: 1000,
    maxPerAddress: 100,
    slowMs: 50,
    graceMs,
    metrics: createPolicyMetrics(metrics.registry),
  });
  context.after(() => slowClients.stop());
  return { slowClients, metrics };
}

/** Starts a request whose body the test sends later. */
function startPost({ url }: TestGateway, { length }: { length: number }): ClientRequest {
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

/** Size of a body that is streamed, not buffered. */
const largeSize = 256 * 1024;
const firstPart = 'x'.repeat(80 * 1024);

describe('clients that send slowly', () => {
  it('get the full response time, and do not reach the service while sending', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) => void incoming.resume().on('end', () => sendJson(response, 201, {})),
      requestTimeoutMs: 600,
      upstreamTimeoutMs: 500,
      circuit: { volume: 1 },
    });
    const senders = Array.from({ length: 10 }, () => startPost(gateway, { length: 4 }));
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

  it('do not use up the upstream timeout with a large body', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) =>
        void incoming.resume().on('end', () => setTimeout(() => sendJson(response, 201, {}), 600)),
      upstreamTimeoutMs: 1000,
      table: tableWith({ slow_ms: 10 }),
    });
    const sender = startPost(gateway, { length: largeSize });
    const status = statusOf(sender);
    sender.write(firstPart);
    await eventually(() => gateway.users.requests.length === 1, 'the request at the service');
    await wait(600);
    sender.end('x'.repeat(largeSize - firstPart.length));
    assert.equal(await status, 201);
  });

  it('do not count as failures of a service that exceeds the shortened deadline', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming, response) =>
        void incoming
          .resume()
          .on('end', () => sendJson(response, 504, {}, { 'x-problem': 'deadline-exceeded' })),
      circuit: { volume: 1 },
      table: tableWith({ slow_ms: 200 }),
    });
    const sender = startPost(gateway, { length: largeSize });
    const status = statusOf(sender);
    sender.write(firstPart);
    await wait(250);
    sender.end('x'.repeat(largeSize - firstPart.length));
    assert.equal(await status, 504);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('count neither in a bulkhead nor as requests in flight', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 2, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, { maxInFlight: 2, door: { load } });
    const senders = Array.from({ length: 10 }, () => startPost(gateway, { length: 100 }));
    for (const sender of senders) sender.write('x');
    for (let count = 0; count < 5; count += 1)
      assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    for (const sender of senders) sender.destroy();
  });

  it('are rejected after sending the body while the gateway is overloaded', async (context) => {
    let busy = false;
    const load = createLoadMonitor({ maxInFlight: 1000, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      door: { load: { ...load, reason: () => (busy ? 'in_flight' : undefined) } },
    });
    const sender = startPost(gateway, { length: 10 });
    const status = statusOf(sender);
    sender.write('x');
    await wait(20);
    busy = true;
    sender.end('x'.repeat(9));
    assert.equal(await status, 503);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('lose the slots of large bodies to ready requests after one second', async (context) => {
    const gateway = await startGateway(context, {
      maxInFlight: 2,
      users: (incoming) => void incoming.resume(),
    });
    const senders = [0, 1].map(() => startPost(gateway, { length: largeSize }));
    const statuses = senders.map(statusOf);
    for (const sender of senders) sender.write(firstPart);
    await eventually(() => gateway.users.requests.length === 2, 'both requests at the service');
    gateway.users.listener = (_incoming, response) => sendJson(response, 200, {});
    const early = await sendRequest(`${gateway.url}/api/users/1`);
    assert.deepEqual([early.status, early.headers['x-problem']], [503, 'upstream-overloaded']);
    await wait(1100);
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(await Promise.race(statuses), 408);
    assert.equal(gateway.upstreams.users.inFlight, 1, 'the other call continues');
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    for (const sender of senders) sender.destroy();
  });

  it('keep the slot of a large body while the service is slow', async (context) => {
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
    const senders = [0, 1].map(() => startPost(gateway, { length }));
    for (const sender of senders) sender.end(Buffer.alloc(length));
    await eventually(() => gateway.users.requests.length === 2, 'both requests at the service');
    await wait(2000);
    const { status, headers } = await sendRequest(`${gateway.url}/api/users/1`);
    assert.deepEqual([status, headers['x-problem'], replaced], [503, 'upstream-overloaded', []]);
    for (const sender of senders) sender.destroy();
  });

  it('do not keep a circuit half-open', async (context) => {
    const gateway = await startGateway(context, {
      users: (incoming) => void incoming.socket.destroy(),
      circuit: { volume: 1, resetMs: 500 },
      upstreamTimeoutMs: 1500,
    });
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 502);
    await eventually(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    gateway.users.listener = (incoming, response) =>
      void incoming.resume().on('end', () => sendJson(response, 200, {}));
    const probes = (): number => gateway.users.requests.filter(({ method }) => method === 'POST').length;
    const senders: ClientRequest[] = [];
    while (probes() < 3) {
      const sender = startPost(gateway, { length: largeSize });
      sender.write(firstPart);
      senders.push(sender);
      await wait(60);
    }
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 503);
    await eventually(
      async () => (await sendRequest(`${gateway.url}/api/users/1`)).status === 200,
      'a response for others',
    );
    for (const sender of senders) sender.destroy();
  });

  it('are no longer watched after they disconnect before the body is read', async (context) => {
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
    const sender = startPost(gateway, { length: 100 });
    sender.write('x');
    const [request] = (await once(gateway.server, 'request')) as [IncomingMessage];
    const left = new Promise((resolve) => request.socket.once('close', resolve));
    sender.destroy();
    await left;
    slow.open();
    await wait(20);
    assert.equal(watched, 0);
  });

  it('get 408 when they stay below the rate', async (context) => {
    const { slowClients, metrics } = createFastWatch(context, { graceMs: 100 });
    const gateway = await startGateway(context, {
      door: { slowClients },
      users: (incoming) => void incoming.resume(),
    });
    const small = startPost(gateway, { length: 1000 });
    small.write('x');
    assert.equal(await statusOf(small), 408);
    const big = startPost(gateway, { length: largeSize });
    big.write(firstPart);
    assert.equal(await statusOf(big), 408);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the slot');
    assert.match(
      (await metrics.render()).body,
      /slow_clients_disconnected_total\{direction="request",reason="rate"\} 2/,
    );
  });
});

/** Sends a request and does not read the response. */
function requestWithoutReading(context: TestContext, { port }: TestGateway) {
  const socket = connect(port, '127.0.0.1');
  const reader = { socket, closed: false };
  socket
    .on('error', () => undefined)
    .on('close', () => {
      reader.closed = true;
    });
  socket.pause();
  socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n');
  context.after(() => socket.destroy());
  return reader;
}

/** Sends bytes and returns the connection. */
function sendBytes(context: TestContext, { port }: TestGateway, bytes: string) {
  const socket = connect(port, '127.0.0.1');
  const connection = { socket, closed: false };
  socket
    .on('error', () => undefined)
    .on('close', () => {
      connection.closed = true;
    });
  context.after(() => socket.destroy());
  socket.write(bytes);
  return connection;
}

/** Returns the used heap in bytes after garbage collection. */
function usedHeap(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

describe('clients that send chunks of one byte', () => {
  it('use no more memory than the bytes that they send', async (context) => {
    const gateway = await startGateway(context);
    const before = usedHeap();
    const received: Socket[] = [];
    gateway.server.on('connection', (socket) => received.push(socket));
    const head = 'POST /api/users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
    const bytes = `${head}${'1\r\nx\r\n'.repeat(20_000)}`;
    const connections = Array.from({ length: 20 }, () => sendBytes(context, gateway, bytes));
    await eventually(
      () => received.length === 20 && received.every(({ bytesRead }) => bytesRead >= bytes.length),
    );
    assert.ok(connections.every(({ closed }) => !closed));
    const more = usedHeap() - before;
    assert.ok(more < 30 * 2 ** 20, `${Math.round(more / 2 ** 20)} MiB`);
  });
});

describe('clients that do not read', () => {
  /** Size in bytes above the buffers of two sockets. */
  const largeText = Buffer.alloc(32 * 1024 * 1024);

  it('lose their slots to ready requests after one second, and do not count as in flight', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 2, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      door: { load },
      maxInFlight: 2,
      users: (_incoming, response) => void response.end(largeText),
    });
    const readers = [0, 1].map(() => requestWithoutReading(context, gateway));
    await eventually(() => gateway.users.requests.length === 2, 'both calls');
    gateway.users.listener = (_incoming, response) => sendJson(response, 200, {});
    await wait(1100);
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(gateway.upstreams.users.inFlight, 1);
    assert.equal((await sendRequest(`${gateway.url}/api/orders`)).status, 200, 'neither counts as in flight');
    for (const { socket } of readers) socket.resume();
    await eventually(() => readers.some(({ closed }) => closed), 'the end of one call');
    assert.equal(readers.filter(({ closed }) => closed).length, 1);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('get the whole response when they start to read before another request needs the slot', async (context) => {
    const gateway = await startGateway(context, {
      maxInFlight: 2,
      users: (_incoming, response) => void response.end(largeText),
    });
    const { socket } = requestWithoutReading(context, gateway);
    await wait(1200);
    assert.equal((await sendRequest(`${gateway.url}/api/orders`)).status, 200);
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.resume();
    await eventually(() => bytes > largeText.length, 'the whole response');
  });

  it('do not count as in flight after the response is complete', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 1, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      table: tableWith({ cache: { ttl_ms: 1000, max_bytes: 2 ** 26, request_headers: [] } }),
      door: { load, cacheBytes: 2 ** 27 },
      users: (_incoming, response) => void response.end(largeText),
    });
    const reader = requestWithoutReading(context, gateway);
    await eventually(() => load.reason() === 'in_flight', 'the request');
    await eventually(() => load.reason() === undefined, 'the response');
    assert.equal((await sendRequest(`${gateway.url}/api/orders`)).status, 200);
    assert.equal(reader.closed, false);
  });

  it('do not count as in flight with pipelined requests that wait behind each other', async (context) => {
    const load = createLoadMonitor({ maxInFlight: 50, maxDelayMs: 60_000 });
    context.after(() => load.stop());
    const gateway = await startGateway(context, {
      table: tableWith({ cache: { ttl_ms: 60_000, max_bytes: 2 ** 26, request_headers: [] } }),
      door: { load, cacheBytes: 2 ** 27, limitFactor: 0 },
      users: (_incoming, response) => void response.end(largeText),
    });
    let requests = 0;
    gateway.server.on('request', () => {
      requests += 1;
    });
    const first = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n';
    const { socket } = sendBytes(context, gateway, first);
    socket.pause();
    await eventually(
      () => load.reason() === undefined && gateway.users.requests.length === 1,
      'the first response',
    );
    socket.write('GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(60));
    await eventually(() => requests >= 61, 'the requests');
    await wait(50);
    assert.equal(load.reason(), undefined);
    assert.equal((await sendRequest(`${gateway.url}/api/orders`)).status, 200);
  });

  it('are disconnected when many small pipelined responses wait', async (context) => {
    const { slowClients, metrics } = createFastWatch(context, { graceMs: 500 });
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
    await eventually(async () => counted.test((await metrics.render()).body), 'the end of its connection');
  });

  it('are disconnected after a while', async (context) => {
    const { slowClients, metrics } = createFastWatch(context, { graceMs: 100 });
    const gateway = await startGateway(context, { door: { slowClients } });
    const socket = connect(gateway.port, '127.0.0.1');
    context.after(() => socket.destroy());
    let closed = false;
    socket
      .on('error', () => undefined)
      .on('close', () => {
        closed = true;
      });
    socket.pause();
    // Responses of the gateway itself, with more bytes than the largest socket buffers hold.
    socket.write('GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(250));
    // Each pipelined response that waits counts.
    const counted = /slow_clients_disconnected_total\{direction="response",reason="rate"\} [1-9]/;
    await eventually(async () => counted.test((await metrics.render()).body), 'the end of its connection');
    socket.resume();
    await eventually(() => closed, 'the reset');
  });
});
