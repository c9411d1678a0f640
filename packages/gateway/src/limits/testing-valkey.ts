import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from '@zerda/chassis/testing-port';

/** A Valkey (or Redis) server of its own, which keeps nothing, for one run of tests. */
export interface TestValkey {
  readonly url: string;
  /** Sends it a signal, such as SIGSTOP and SIGCONT. */
  signal(name: NodeJS.Signals): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it on its port; resolves once it takes connections. */
  start(): Promise<void>;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/** A server that was not started yet. @throws Error where none is installed */
export async function prepareValkey(): Promise<TestValkey> {
  const binary = await findBinary();
  if (binary === undefined) throw new Error('there is no valkey-server or redis-server on the PATH');
  const folder = await mkdtemp(join(tmpdir(), 'zerda-valkey-'));
  const port = await freePort();
  let server: ReturnType<typeof spawn> | undefined;

  async function kill(): Promise<void> {
    if (server === undefined) return;
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
    server = undefined;
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    signal: (name) => void server?.kill(name),
    kill,
    async start() {
      const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', ''];
      server = spawn(binary, args, { stdio: 'ignore' });
      await accepting(port);
    },
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Runs a suite that needs a Valkey server; Redis does as well. Where neither is installed it is a skipped test that says so;
 * with REQUIRE_VALKEY=1 it fails.
 */
export async function describeOnValkey(title: string, suite: () => void): Promise<void> {
  if ((await findBinary()) !== undefined) {
    describe(`${title} (Valkey)`, suite);
  } else if (process.env.REQUIRE_VALKEY === '1') {
    it(`${title} (Valkey)`, () => {
      throw new Error('REQUIRE_VALKEY=1, but there is no valkey-server or redis-server on the PATH');
    });
  } else {
    it(
      `${title} (Valkey): skipped, no valkey-server or redis-server was found`,
      { skip: true },
      () => undefined,
    );
  }
}

async function findBinary(): Promise<string | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin']) {
    const names: string[] = await readdir(folder).catch(() => []);
    const found = ['valkey-server', 'redis-server'].find((name) => names.includes(name));
    if (found !== undefined) return join(folder, found);
  }
  return undefined;
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
      await wait(25);
    } finally {
      socket.destroy();
    }
  }
}
