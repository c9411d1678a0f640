import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { silentLogger } from '../../testing/observed.ts';
import { createLifecycle, type Lifecycle } from '../lifecycle/lifecycle.ts';
import { StartupError } from '../startup-error.ts';
import { listen } from './server.ts';

const logger = silentLogger();

/** Opens connections and counts those that the kernel has accepted. */
const connectAll = `
  const { connect } = require('node:net');
  const { workerData: { port, clients, connected } } = require('node:worker_threads');
  for (let index = 0; index < clients; index += 1)
    connect(port, '127.0.0.1', () => Atomics.add(connected, 0, 1)).on('error', () => undefined);
`;

describe('listen', () => {
  let lifecycle: Lifecycle;
  let agent: Agent;

  beforeEach(() => {
    lifecycle = createLifecycle({ logger });
    agent = new Agent({ keepAlive: true });
  });
  afterEach(async () => {
    agent.destroy();
    await lifecycle.shutdown();
  });

  /** Listens on a free port of 127.0.0.1 and responds to every request. */
  const listenOnLoopback = (ofProcess = lifecycle) =>
    listen((_request, response) => response.end(), {
      name: 'API',
      host: '127.0.0.1',
      port: 0,
      lifecycle: ofProcess,
      logger,
    });

  async function fetchFrom(port: number): Promise<IncomingMessage> {
    const [response] = (await once(get({ port, agent, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
    return response;
  }

  it('completes requests in flight at shutdown, and does not wait for idle connections', async () => {
    let finishSlow: (() => void) | undefined;
    const { port } = await listen(
      (request, response) => {
        if (request.url === '/slow') finishSlow = () => response.end('whole');
        else response.end('quick');
      },
      { name: 'API', host: '127.0.0.1', port: 0, lifecycle, logger },
    );
    (await fetchFrom(port)).resume();
    const slow = once(get({ port, host: '127.0.0.1', path: '/slow', agent }), 'response') as Promise<
      [IncomingMessage]
    >;
    while (finishSlow === undefined) await new Promise(setImmediate);
    lifecycle.markReady();
    const startedAt = performance.now();
    const ended = lifecycle.shutdown();
    finishSlow();
    const [response] = await slow;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    assert.equal(Buffer.concat(chunks).toString(), 'whole');
    await ended;
    assert.ok(performance.now() - startedAt < 1000);
    await assert.rejects(once(get({ port, host: '127.0.0.1', agent: false }), 'response'), {
      code: 'ECONNREFUSED',
    });
  });

  it('serves requests with Connection: close while it drains', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const draining = createLifecycle({ logger, drainMs: 60_000 });
    const { port } = await listenOnLoopback(draining);
    draining.markReady();
    assert.equal((await fetchFrom(port)).resume().headers.connection, 'keep-alive');
    const ended = draining.shutdown();
    const response = await fetchFrom(port);
    assert.equal(response.resume().statusCode, 200);
    assert.equal(response.headers.connection, 'close');
    context.mock.timers.tick(60_000);
    await ended;
  });

  it('listens on IPv4, and on IPv6 if available, without a configured address', async (context) => {
    const { port } = await listen((request, response) => response.end(request.socket.remoteFamily), {
      name: 'API',
      host: undefined,
      port: 0,
      lifecycle,
      logger,
    });
    const hosts = ['127.0.0.1'];
    const addresses = Object.values(networkInterfaces()).flat();
    if (addresses.some((entry) => entry?.address === '::1')) hosts.push('::1');
    else context.diagnostic('this machine has no IPv6');
    for (const host of hosts) {
      const [response] = (await once(get({ port, host, agent: false }), 'response')) as [IncomingMessage];
      assert.equal(response.resume().statusCode, 200, host);
    }
    await assert.rejects(
      listen(() => undefined, { name: 'API', host: undefined, port, lifecycle, logger }),
      { name: 'StartupError', message: new RegExp(`^port ${port} \\(API\\) is in use\\. [^\\n]+$`) },
    );
  });

  it('fails with a one-line message and exit code 78 for an address of another machine', async () => {
    for (const host of ['203.0.113.7', '2001:db8::7', '[::1]', 'no.such.host.invalid', 'fe80::1', '1.2.3'])
      await assert.rejects(
        listen(() => undefined, { name: 'API', host, port: 0, lifecycle, logger }),
        (error) => error instanceof StartupError && error.exitCode === 78 && !error.message.includes('\n'),
        host,
      );
  });

  it('fails with a one-line message if the port is in use', async () => {
    const options = { name: 'API', host: '127.0.0.1', lifecycle, logger };
    const { port } = await listen(() => undefined, { ...options, port: 0 });
    await assert.rejects(
      listen(() => undefined, { ...options, port }),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 1);
        assert.match(error.message, new RegExp(`^127\\.0\\.0\\.1:${port} \\(API\\) is in use\\. [^\\n]+$`));
        return true;
      },
    );
  });

  it('queues 1,500 connections while the event loop is busy, if the system allows it', async (context) => {
    const allowed = Number(await readFile('/proc/sys/net/core/somaxconn', 'utf8').catch(() => '0'));
    const clients = 1500;
    if (allowed < clients) return context.skip(`net.core.somaxconn is ${allowed}`);
    const { port } = await listenOnLoopback();
    const connected = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(connectAll, { eval: true, workerData: { port, clients, connected } });
    await once(worker, 'online');
    // This thread, which would accept them, is blocked until all are connected.
    const endsAt = performance.now() + 5000;
    for (let count = 0; count < clients && performance.now() < endsAt; count = Atomics.load(connected, 0))
      Atomics.wait(connected, 0, count, 50);
    const waiting = Atomics.load(connected, 0);
    await worker.terminate();
    assert.equal(waiting, clients);
  });

  it('returns 400 for bytes that are not HTTP and keeps serving', async () => {
    const { port } = await listenOnLoopback();
    const socket = connect(port, '127.0.0.1');
    socket.end('not http\r\n\r\n');
    const [head] = (await once(socket, 'data')) as [Buffer];
    assert.match(head.toString(), /^HTTP\/1\.1 400 /);
    assert.equal((await fetchFrom(port)).resume().statusCode, 200);
  });
});
