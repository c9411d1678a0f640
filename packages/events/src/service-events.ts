import type { Database } from '@zerda/chassis/database/database';
import type { Lifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { StartupError } from '@zerda/chassis/startup-error';
import type { Tracer } from '@zerda/chassis/tracing/span';
import { eventPrefix } from '@zerda/contracts/events/envelope';
import { startEventCleaner } from './clean-events.ts';
import { createDeadLetters } from './dead-letters.ts';
import { eventMetrics } from './event-metrics.ts';
import { createEventSink, type EventSink } from './event-sink.ts';
import { type EventConfig, eventSecrets } from './event-variables.ts';
import { createHttpTransport } from './http-transport.ts';
import { createNatsTransport } from './nats-transport.ts';
import { wakingAfterCommit } from './outbox.ts';
import { createOutboxQueue } from './outbox-queue.ts';
import { createReceiver, type Subscription } from './receiver.ts';
import { startRelay } from './relay.ts';
import type { EventTransport } from './transport.ts';

export interface ServiceEventsOptions {
  readonly service: string;
  readonly config: EventConfig;
  readonly database: Database;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'registry'>;
  /** Records spans of sampled events; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /** Sink from `openServiceSink`; undefined for a service without subscriptions. */
  readonly sink?: EventSink | undefined;
  /** Event subscriptions of the service; none by default. */
  readonly subscriptions?: readonly Subscription[];
}

/**
 * Creates the sink of a service with subscriptions. Returns undefined without a secret, because any client could post
 * events then.
 */
export function openServiceSink({
  config,
  logger,
  metrics,
}: Pick<ServiceEventsOptions, 'config' | 'logger' | 'metrics'>): EventSink | undefined {
  const secrets = eventSecrets(config);
  return secrets.length === 0
    ? undefined
    : createEventSink({ secrets, logger, metrics: eventMetrics(metrics.registry) });
}

/**
 * Starts to send events from the outbox and to process received ones, until shutdown. Returns the database for the
 * service; its commits wake the relay.
 * @throws StartupError (78) if events are to be sent and no secret is set
 */
export async function openServiceEvents(options: ServiceEventsOptions): Promise<Database> {
  const { service, config, database, logger, lifecycle, tracer, sink, subscriptions = [] } = options;
  const metrics = eventMetrics(options.metrics.registry);
  const transport = await openTransport(options);
  const relay = startRelay({
    database,
    transport,
    logger,
    metrics,
    tracer,
    system: config.NATS_URL === undefined ? 'http' : 'nats',
    leaseMs: config.EVENT_LEASE_MS,
  });
  lifecycle.onShutdown('event transport', () => transport.close());
  lifecycle.onShutdown('relay', () => relay.stop());
  metrics.outbox(createOutboxQueue(database).count);
  metrics.deadLetters(createDeadLetters(database).count);

  const waking = wakingAfterCommit(database, relay.wake);
  if (subscriptions.length > 0) {
    const maxFailures = config.EVENT_MAX_FAILURES;
    const receiver = createReceiver({
      database: waking,
      subscriptions,
      logger,
      metrics,
      tracer,
      service,
      maxFailures,
    });
    transport.subscribe(receiver);
    if (config.NATS_URL !== undefined && acceptsUnsigned(config)) {
      logger.warn('unsigned NATS events accepted (EVENT_SIGNATURES=accept-unsigned)');
    }
    // The sink stays open beside NATS: during a migration from HTTP to NATS some services still post.
    if (config.NATS_URL !== undefined && sink !== undefined) {
      sink.open(receiver);
      lifecycle.onShutdown('event sink', () => sink.close());
    }
    if (config.NATS_URL === undefined && sink === undefined) {
      logger.warn('event sink disabled (EVENT_SECRET not set)');
    }
  }
  const retentionHours = config.EVENT_RETENTION_HOURS;
  startEventCleaner({ database, retentionHours, hasInbox: subscriptions.length > 0, lifecycle, logger });
  return waking;
}

function acceptsUnsigned({ EVENT_SIGNATURES }: EventConfig): boolean {
  return EVENT_SIGNATURES === 'accept-unsigned';
}

function openTransport({
  service,
  config,
  logger,
  metrics,
  sink,
}: ServiceEventsOptions): EventTransport | Promise<EventTransport> {
  // Well below the lease, so that one process gives up before another process claims the event.
  const sendMs = Math.min(10_000, Math.ceil(config.EVENT_LEASE_MS / 3));
  const secrets = eventSecrets(config);
  if (config.NATS_URL !== undefined) {
    if (secrets.length === 0) {
      throw new StartupError('EVENT_SECRET must be set if NATS_URL is set: it signs the events', 78);
    }
    const access = {
      servers: config.NATS_URL,
      user: config.NATS_USER,
      password: config.NATS_PASSWORD,
      credentialsFile: config.NATS_CREDENTIALS_FILE,
      caFile: config.NATS_CA_FILE,
      certFile: config.NATS_CERT_FILE,
      keyFile: config.NATS_KEY_FILE,
    };
    return createNatsTransport({
      access,
      service,
      prefix: eventPrefix,
      secrets,
      logger,
      metrics: eventMetrics(metrics.registry),
      acceptUnsigned: acceptsUnsigned(config),
      replicas: config.NATS_STREAM_REPLICAS,
      timeoutMs: Math.min(5000, sendMs),
      ackWaitMs: config.EVENT_LEASE_MS,
    });
  }
  const { EVENT_SINKS: sinks = [] } = config;
  if (sinks.length > 0 && secrets.length === 0) {
    throw new StartupError('EVENT_SECRET must be set if EVENT_SINKS is set: it signs the events', 78);
  }
  return createHttpTransport({ sinks, secrets, sink, timeoutMs: sendMs });
}
