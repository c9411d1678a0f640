import { setTimeout as wait } from 'node:timers/promises';
import type { ConsumerMessages, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { signatureHeader, signMessage } from '@zerda/chassis/auth/signature';
import { backoffMs } from '@zerda/chassis/backoff';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { EventMetrics } from './event-metrics.ts';
import { type NatsAccess, natsBackoff, openNats } from './nats-connection.ts';
import { filterOf, requireConsumer, requireStream } from './nats-stream.ts';
import { createNatsSubscription } from './nats-subscription.ts';
import { type EventReceiver, type EventTransport, SendError } from './transport.ts';

export interface NatsTransportOptions {
  readonly access: NatsAccess;
  /** Name of the service. Also the name of its connection and of the durable consumer that its replicas share. */
  readonly service: string;
  /** First word of every event type. In capitals it is the name of the stream. */
  readonly prefix: string;
  /** Secrets that sign events and verify received ones; at least one. */
  readonly secrets: readonly string[];
  /** Accepts events without a signature; false by default. Events with an invalid signature are always rejected. */
  readonly acceptUnsigned?: boolean;
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected' | 'acceptedUnsigned'>;
  /** Number of stream replicas in a NATS cluster; 1 by default. */
  readonly replicas?: number;
  /** Timeout for the server to store an event, in milliseconds; 5,000 by default. */
  readonly timeoutMs?: number;
  /** Redelivery delay of unacknowledged events, in milliseconds; 30,000 by default. */
  readonly ackWaitMs?: number;
  /** Maximum number of events that are processed concurrently; 64 by default. */
  readonly maxInFlight?: number;
}

/**
 * Options of pull requests, in milliseconds. A deleted consumer is noticed within two heartbeats and then recreated.
 */
const pullOptions = { expires: 10_000, idle_heartbeat: 1000, abort_on_missing_resource: true };

/**
 * Creates a transport over NATS JetStream. The event type is the subject, the event id is the message id. Creates the
 * stream and the consumer if they are missing, also after the server has lost them. Requires nats-server 2.9 or later.
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
  maxInFlight = 64,
}: NatsTransportOptions): Promise<EventTransport> {
  const [{ jetstream, jetstreamManager, PubHeaders }, { headers }] = await Promise.all([
    import('@nats-io/jetstream'),
    import('@nats-io/transport-node'),
  ]);
  const stream = prefix.toUpperCase();
  let streamReady: Promise<void> | undefined;
  const nats = await openNats({
    access,
    timeoutMs,
    logger,
    name: service,
    onReconnect: () => {
      streamReady = undefined;
    },
  });
  const closing = new AbortController();

  function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
    // The account check is skipped: it fails while JetStream on the server is starting.
    return jetstreamManager(connection, { checkAPI: false, timeout: timeoutMs });
  }

  function ensureStream(connection: NatsConnection): Promise<void> {
    streamReady ??= managerOf(connection)
      .then((manager) => requireStream(manager, { name: stream, prefix, replicas }))
      .catch((error: unknown) => {
        streamReady = undefined;
        throw error;
      });
    return streamReady;
  }

  let consuming = Promise.resolve();
  let messages: ConsumerMessages | undefined;

  async function consume(receiver: EventReceiver): Promise<void> {
    const connection = await nats.first;
    if (connection === undefined) return;
    const subscription = createNatsSubscription({
      receiver,
      secrets,
      acceptUnsigned,
      logger,
      metrics,
      ackWaitMs,
      maxInFlight,
    });
    const filter = filterOf(receiver.types, prefix);
    for (let failures = 1; !closing.signal.aborted; failures += 1) {
      try {
        await ensureStream(connection);
        await requireConsumer(await managerOf(connection), { stream, name: service, filter, ackWaitMs });
        const consumer = await jetstream(connection).consumers.get(stream, service);
        messages = await consumer.consume({ ...pullOptions, max_messages: maxInFlight });
        if (closing.signal.aborted) messages.stop();
        failures = 0;
        await subscription.drain(messages);
      } catch (error) {
        if (!closing.signal.aborted) logger.warn({ err: error }, 'fetching events from NATS failed');
        streamReady = undefined;
      }
      const ms = backoffMs(Math.max(1, failures), natsBackoff);
      await wait(ms, undefined, { signal: closing.signal }).catch(() => undefined);
    }
    await subscription.settled();
  }

  return {
    async send({ id, type, text, traceparent }) {
      const connection = nats.usable;
      if (connection === undefined) throw new SendError('unavailable', 'NATS is not connected');
      const signed = headers();
      signed.set(signatureHeader, signMessage(type, text, secrets));
      signed.set(PubHeaders.MsgIdHdr, id);
      if (traceparent !== undefined) signed.set('traceparent', traceparent);
      // max_payload includes the headers.
      const length = Buffer.byteLength(text) + Buffer.byteLength(signed.toString());
      if (length > (connection.info?.max_payload ?? Number.POSITIVE_INFINITY)) {
        throw new SendError('rejected', 'the event exceeds the max_payload of NATS');
      }
      try {
        await ensureStream(connection);
        await jetstream(connection).publish(type, text, { headers: signed, timeout: timeoutMs });
      } catch (error) {
        streamReady = undefined;
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
