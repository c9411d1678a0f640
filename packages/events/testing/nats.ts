import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import {
  describeWithServer,
  type ServerProcess,
  type ServerProgram,
  startServer,
} from '@zerda/chassis/testing/server';

const nats: ServerProgram = { title: 'NATS', names: ['nats-server'], required: 'REQUIRE_NATS' };

export interface StartNatsOptions {
  /** Additional arguments of the server. */
  readonly args?: readonly string[];
  /** Port to listen on; a free one by default. */
  readonly port?: number | undefined;
  /** Environment variables for its configuration file. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Starts a nats-server with JetStream. @throws StartupError if none is installed */
export function startNats({ args = [], port, env = {} }: StartNatsOptions = {}): Promise<ServerProcess> {
  return startServer(nats, {
    port,
    url: (natsPort) => `nats://127.0.0.1:${natsPort}`,
    env,
    prepare: (place) => ['-a', '127.0.0.1', '-p', String(place.port), '-js', '-sd', place.folder, ...args],
  });
}

/** The state of a stream on the server. */
export type StreamView = Awaited<ReturnType<typeof viewStream>>;

/** Opens a view of a stream on a running server. */
export async function viewStream(
  url: string,
  stream: string,
  access: { readonly user?: string; readonly pass?: string } = {},
) {
  const connection = await connectNats({ servers: url, maxReconnectAttempts: -1, ...access });
  const { streams, consumers } = await jetstreamManager(connection, { checkAPI: false });

  /** Returns the sequence number of the last stored message. */
  async function last(): Promise<number> {
    return (await streams.info(stream)).state.last_seq;
  }
  return {
    last,
    /** Removes all messages. Sequence numbers continue. */
    async purge(): Promise<void> {
      await streams.purge(stream);
    },
    /** Returns the messages after a sequence number, in order. */
    async after(sequence: number): Promise<string[]> {
      const texts: string[] = [];
      for (let seq = sequence + 1, end = await last(); seq <= end; seq += 1) {
        const message = await streams.getMessage(stream, { seq });
        if (message !== null) texts.push(message.string());
      }
      return texts;
    },
    /** Returns how many messages of a consumer are undelivered or unacknowledged, and its deliveries, including redeliveries. */
    async consumer(name: string) {
      const { num_pending, num_ack_pending, delivered } = await consumers.info(stream, name);
      return { pending: num_pending, ackPending: num_ack_pending, deliveries: delivered.consumer_seq };
    },
    close: () => connection.close(),
  };
}

/** Runs a suite that requires a nats-server. If none is installed, skips it, or fails with REQUIRE_NATS=1. */
export const describeOnNats = describeWithServer(nats);
