import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createLifecycle, type Lifecycle } from '../lifecycle/lifecycle.ts';
import { StartupError } from '../startup-error.ts';
import { silentLogger } from '../testing.ts';
import { listen } from './server.ts';

const logger = silentLogger();

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

  async function fetchFrom(port: number): Promise<IncomingMessage> {
    const [response] = (await once(get({ port, agent, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
    return response;
  }

  it('answers a request in hand, then closes without waiting for idle connections', async () => {
    let answer: (() => void) | undefined;
    const { port } = await listen(
      (request, response) => {
        if (request.url === '/slow') answer = () => response.end('whole');
        else response.end('quick');
      },
      { name: 'API', host: '127.0.0.1', port: 0, lifecycle, logger },
    );
    (await fetchFrom(port)).resume();
    const slow = once(get({ port, host: '127.0.0.1', path: '/slow', agent }), 'response') as Promise<
      [IncomingMessage]
    >;
    while (answer === undefined) await new Promise(setImmediate);
    lifecycle.markReady();
    const startedAt = performance.now();
    const ended = lifecycle.shutdown();
    answer();
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

  it('still serves while it drains, and asks each client to leave', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const draining = createLifecycle({ logger, drainMs: 60_000 });
    const { port } = await listen((_request, response) => response.end(), {
      name: 'API',
      host: '127.0.0.1',
      port: 0,
      lifecycle: draining,
      logger,
    });
    draining.markReady();
    assert.equal((await fetchFrom(port)).resume().headers.connection, 'keep-alive');
    const ended = draining.shutdown();
    const response = await fetchFrom(port);
    assert.equal(response.resume().statusCode, 200);
    assert.equal(response.headers.connection, 'close');
    context.mock.timers.tick(60_000);
    await ended;
  });

  it('serves IPv4, and IPv6 where the machine has it, when no address is named', async (context) => {
    const { port } = await listen((request, response) => response.end(request.socket.remoteFamily), {
      ...{ name: 'API', host: undefined, port: 0, lifecycle, logger },
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
      { name: 'StartupError', message: new RegExp(`^port ${port} \\(API\\) is in use; [^\\n]+$`) },
    );
  });

  it('says in one line, with exit code 78, that an address is not of this machine', async () => {
    for (const host of ['203.0.113.7', '2001:db8::7', '[::1]', 'no.such.host.invalid', 'fe80::1', '1.2.3'])
      await assert.rejects(
        listen(() => undefined, { name: 'API', host, port: 0, lifecycle, logger }),
        (error) => error instanceof StartupError && error.exitCode === 78 && !error.message.includes('\n'),
        host,
      );
  });

  it('says in one line that the port is in use', async () => {
    const options = { name: 'API', host: '127.0.0.1', lifecycle, logger };
    const { port } = await listen(() => undefined, { ...options, port: 0 });
    await assert.rejects(
      listen(() => undefined, { ...options, port }),
      (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 1);
        assert.match(error.message, new RegExp(`^127\\.0\\.0\\.1:${port} \\(API\\) is in use; [^\\n]+$`));
        return true;
      },
    );
  });

  it('refuses bytes that are not HTTP without falling over', async () => {
    const { port } = await listen((_request, response) => response.end(), {
      name: 'API',
      host: '127.0.0.1',
      port: 0,
      lifecycle,
      logger,
    });
    const socket = connect(port, '127.0.0.1');
    socket.end('not http\r\n\r\n');
    const [head] = (await once(socket, 'data')) as [Buffer];
    assert.match(head.toString(), /^HTTP\/1\.1 400 /);
    assert.equal((await fetchFrom(port)).resume().statusCode, 200);
  });
});
