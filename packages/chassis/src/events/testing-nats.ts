import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';

/** A nats-server of its own with JetStream, in a temporary folder, for one run of tests. */
export interface TestNats {
  readonly url: string;
  /** SIGKILL; what was stored stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a nats-server with more arguments; undefined where none is installed. */
export async function startNats(more: readonly string[] = []): Promise<TestNats | undefined> {
  const binary = await findBinary();
  if (binary === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'zerda-nats-'));
  const port = await freePort();
  let server: ReturnType<typeof spawn> | undefined;

  async function start(): Promise<void> {
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder, ...more];
    server = spawn(binary as string, args, { stdio: 'ignore' });
    await accepting(port);
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (server === undefined) return;
    const ended = once(server, 'exit');
    server.kill(signal);
    await ended;
    server = undefined;
  }
  async function stop(): Promise<void> {
    await end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `nats://127.0.0.1:${port}`, start, kill: () => end('SIGKILL'), stop };
}

/**
 * Runs a suite that needs a nats-server. Where none is installed it is a skipped test that says so; with REQUIRE_NATS=1 it
 * fails.
 */
export async function describeOnNats(title: string, suite: () => void): Promise<void> {
  if ((await findBinary()) !== undefined) {
    describe(`${title} (NATS)`, suite);
  } else if (process.env.REQUIRE_NATS === '1') {
    it(`${title} (NATS)`, () => {
      throw new Error('REQUIRE_NATS=1, but there is no nats-server on the PATH');
    });
  } else {
    it(`${title} (NATS): skipped, no nats-server was found on this machine`, { skip: true }, () => undefined);
  }
}

/** On the PATH, or where Debian puts servers, which is not on everybody's PATH. */
async function findBinary(): Promise<string | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin']) {
    const names: string[] = await readdir(folder).catch(() => []);
    if (names.includes('nats-server')) return join(folder, 'nats-server');
  }
  return undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function accepting(port: number): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    } finally {
      socket.destroy();
    }
  }
}
