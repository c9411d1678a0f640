import { setTimeout as wait } from 'node:timers/promises';
import type { ConsumerMessages, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from '../logging/logger.ts';
import type { EventMetrics } from '../metrics/event-metrics.ts';
import { backoffMs } from './backoff.ts';
import { type NatsAccess, natsBackoff, openNats } from './nats-connection.ts';
import { filterOf, requireConsumer, requireStream } from './nats-stream.ts';
import { createNatsSubscription } from './nats-subscription.ts';
import { signatureHeader, signMessage } from './signature.ts';
import { type EventReceiver, type EventTransport, SendError } from './transport.ts';

export interface NatsTransportOptions {
  readonly access: NatsAccess;
  /** Name of the service: of its connection, and of the durable consumer that its replicas share. */
  readonly service: string;
  /** First word of every type. The stream has its name, in capitals. */
  readonly prefix: string;
  /** Secrets to sign with, and of which a sender must know one; at least one. */
  readonly secrets: readonly string[];
  /** Takes events without a signature, too; false by default. An event with a wrong one is always rejected. */
  readonly acceptUnsigned?: boolean;
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected' | 'acceptedUnsigned'>;
  /** Copies of the stream that a cluster of NATS keeps; 1 by default. */
  readonly replicas?: number;
  /** Milliseconds that the server has to store an event; 5,000 by default. */
  readonly timeoutMs?: number;
  /** Milliseconds after which an event that was not acknowledged comes again; 30,000 by default. */
  readonly ackWaitMs?: number;
  /** Events in hand at the same time; 64 by default. */
  readonly maxInHand?: number;
}

/** A consumer that is gone is missed within two heartbeats, and then made anew. All of it in milliseconds. */
const pulls = { expires: 10_000, idle_heartbeat: 1000, abort_on_missing_resource: true };

/**
 * Events through NATS JetStream: the type is the subject, the id is the message's id. Stream and consumer are made when they are
 * missing, also later on, when the server comes back without them. Uses nothing that nats-server 2.9 lacks.
 */
export async function createNatsTransport({
  access,
  service,
  prefix,
  secrets,
  acceptUnsigned = false,
  logger,
  metrics,
  replicas = 1,
  timeoutMs = 5000,
  ackWaitMs = 30_000,
  maxInHand = 64,
}: NatsTransportOptions): Promise<EventTransport> {
  const [{ jetstream, jetstreamManager, PubHeaders }, { headers }] = await Promise.all([
    import('@nats-io/jetstream'),
    import('@nats-io/transport-node'),
  ]);
  const stream = prefix.toUpperCase();
  let streamThere: Promise<void> | undefined;
  const nats = await openNats({
    ...{ access, timeoutMs, logger, name: service },
    onReconnect: () => {
      streamThere = undefined;
    },
  });
  const closing = new AbortController();

  function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
    // The look at the account is left out: a server whose JetStream is not ready yet fails it.
    return jetstreamManager(connection, { checkAPI: false, timeout: timeoutMs });
  }

  function ensureStream(connection: NatsConnection): Promise<void> {
    streamThere ??= managerOf(connection)
      .then((manager) => requireStream(manager, { name: stream, prefix, replicas }))
      .catch((error: unknown) => {
        streamThere = undefined;
        throw error;
      });
    return streamThere;
  }

  let consuming = Promise.resolve();
  let messages: ConsumerMessages | undefined;

  async function consume(receiver: EventReceiver): Promise<void> {
    const connection = await nats.first;
    if (connection === undefined) return;
    const subscription = createNatsSubscription({
      ...{ receiver, secrets, acceptUnsigned, logger, metrics, ackWaitMs, maxInHand },
    });
    const filter = filterOf(receiver.types, prefix);
    for (let failures = 1; !closing.signal.aborted; failures += 1) {
      try {
        await ensureStream(connection);
        await requireConsumer(await managerOf(connection), { stream, name: service, filter, ackWaitMs });
        const consumer = await jetstream(connection).consumers.get(stream, service);
        messages = await consumer.consume({ ...pulls, max_messages: maxInHand });
        if (closing.signal.aborted) messages.stop();
        failures = 0;
        await subscription.drain(messages);
      } catch (error) {
        if (!closing.signal.aborted) logger.warn({ err: error }, 'events cannot be fetched from NATS');
        streamThere = undefined;
      }
      const ms = backoffMs(Math.max(1, failures), natsBackoff);
      await wait(ms, undefined, { signal: closing.signal }).catch(() => undefined);
    }
    await subscription.settled();
  }

  return {
    async send({ id, type, text }) {
      const connection = nats.usable;
      if (connection === undefined) throw new SendError('unavailable', 'NATS is not connected');
      const signed = headers();
      signed.set(signatureHeader, signMessage(type, text, secrets));
      signed.set(PubHeaders.MsgIdHdr, id);
      // The server counts the headers as well.
      const length = Buffer.byteLength(text) + Buffer.byteLength(signed.toString());
      if (length > (connection.info?.max_payload ?? Number.POSITIVE_INFINITY)) {
        throw new SendError('refused', 'the event is longer than NATS allows (max_payload)');
      }
      try {
        await ensureStream(connection);
        await jetstream(connection).publish(type, text, { headers: signed, timeout: timeoutMs });
      } catch (error) {
        streamThere = undefined;
        throw new SendError('unavailable', `NATS: ${(error as Error).message}`, { cause: error });
      }
    },
    subscribe(receiver) {
      consuming = consume(receiver);
    },
    async close() {
      closing.abort();
      messages?.stop();
      await consuming;
      await nats.close();
    },
  };
}
