import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { freePort } from '../testing-port.ts';

/** A nats-server of its own with JetStream, in a temporary folder, for one run of tests. */
export interface TestNats {
  readonly url: string;
  /** SIGKILL; what was stored stays. */
  kill(): Promise<void>;
  /** Sends it a signal that it survives, such as SIGSTOP. */
  signal(name: NodeJS.Signals): void;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

/**
 * Starts a nats-server with more arguments; undefined where none is installed.
 * @param wanted port to listen on; a free one by default
 */
export async function startNats(
  more: readonly string[] = [],
  wanted?: number,
): Promise<TestNats | undefined> {
  const binary = await findBinary();
  if (binary === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'zerda-nats-'));
  const port = wanted ?? (await freePort());
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
  return {
    url: `nats://127.0.0.1:${port}`,
    start,
    kill: () => end('SIGKILL'),
    signal: (name) => void server?.kill(name),
    stop,
  };
}

/** What a server has, for tests that look behind the transport. */
export interface StreamView {
  /** Number of the last message that was stored. */
  last(): Promise<number>;
  /** Removes every message; numbers go on. */
  purge(): Promise<void>;
  /** Messages after that number, in their order. */
  after(sequence: number): Promise<string[]>;
  /** How far a consumer is. */
  consumer(name: string): Promise<ConsumerView>;
  close(): Promise<void>;
}

export interface ConsumerView {
  /** Messages that it has not handed out yet. */
  readonly pending: number;
  /** Messages that it has handed out and that were not acknowledged yet. */
  readonly inHand: number;
  /** Times that it has handed out a message, repeats included. */
  readonly deliveries: number;
}

/** Looks into a stream of a running server, which may want a user and password. */
export async function viewStream(
  url: string,
  stream: string,
  access: { readonly user?: string; readonly pass?: string } = {},
): Promise<StreamView> {
  const connection = await connectNats({ servers: url, maxReconnectAttempts: -1, ...access });
  const { streams, consumers } = await jetstreamManager(connection, { checkAPI: false });

  async function last(): Promise<number> {
    return (await streams.info(stream)).state.last_seq;
  }
  return {
    last,
    async purge() {
      await streams.purge(stream);
    },
    async after(sequence) {
      const texts: string[] = [];
      for (let seq = sequence + 1, end = await last(); seq <= end; seq += 1) {
        const message = await streams.getMessage(stream, { seq });
        if (message !== null) texts.push(message.string());
      }
      return texts;
    },
    async consumer(name) {
      const { num_pending, num_ack_pending, delivered } = await consumers.info(stream, name);
      return { pending: num_pending, inHand: num_ack_pending, deliveries: delivered.consumer_seq };
    },
    close: () => connection.close(),
  };
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
