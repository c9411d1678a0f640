import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { freePort } from '../testing-port.ts';
import { accepting, describeWithServer, findServer } from '../testing-server.ts';

const nats = { title: 'NATS', names: ['nats-server'], required: 'REQUIRE_NATS' } as const;

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

export interface StartNatsOptions {
  /** Further arguments of the server. */
  readonly args?: readonly string[];
  /** Port to listen on; a free one by default. */
  readonly port?: number;
  /** Variables that its configuration file refers to. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Starts a nats-server; undefined where none is installed. */
export async function startNats({
  args: more = [],
  port: wanted,
  env = {},
}: StartNatsOptions = {}): Promise<TestNats | undefined> {
  const binary = await findServer(nats);
  if (binary === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'zerda-nats-'));
  const port = wanted ?? (await freePort());
  let server: ReturnType<typeof spawn> | undefined;

  async function start(): Promise<void> {
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder, ...more];
    server = spawn(binary as string, args, { stdio: 'ignore', env: { ...process.env, ...env } });
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

/** Runs a suite that needs a nats-server; with REQUIRE_NATS=1 it fails where none is installed. */
export function describeOnNats(title: string, suite: () => void): Promise<void> {
  return describeWithServer(nats, title, suite);
}
