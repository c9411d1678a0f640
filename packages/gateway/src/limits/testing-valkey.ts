import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@zerda/chassis/testing-port';
import { accepting, describeWithServer, findServer } from '@zerda/chassis/testing-server';

const valkey = {
  title: 'Valkey',
  names: ['valkey-server', 'redis-server'],
  required: 'REQUIRE_VALKEY',
} as const;

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
  const binary = await findServer(valkey);
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

/** Runs a suite that needs a Valkey server; Redis does as well. With REQUIRE_VALKEY=1 it fails where neither is installed. */
export function describeOnValkey(title: string, suite: () => void): Promise<void> {
  return describeWithServer(valkey, title, suite);
}
