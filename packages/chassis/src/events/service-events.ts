import { eventPrefix } from '@zerda/contracts/events/envelope';
import type { z } from 'zod';
import type { eventVariables } from '../config/event-variables.ts';
import type { Database } from '../database/database.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { StartupError } from '../startup-error.ts';
import { startEventCleaner } from './clean-events.ts';
import { createEventSink, type EventSink } from './event-sink.ts';
import { createHttpTransport } from './http-transport.ts';
import { createNatsTransport } from './nats-transport.ts';
import { wakingAfterCommit } from './outbox.ts';
import { createOutboxQueue } from './outbox-queue.ts';
import { createReceiver, type Subscription } from './receiver.ts';
import { startRelay } from './relay.ts';
import type { EventTransport } from './transport.ts';

/** The variables of `eventVariables`, read. */
export type EventConfig = z.output<z.ZodObject<ReturnType<typeof eventVariables>>>;

export interface ServiceEventsOptions {
  readonly service: string;
  readonly config: EventConfig;
  readonly database: Database;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'events'>;
  /** Where events come in by HTTP, as `openServiceSink` has made it; undefined for a service that hears none. */
  readonly sink?: EventSink | undefined;
  /** What the service hears; nothing by default. */
  readonly subscriptions?: readonly Subscription[];
}

/** Secrets that services sign with among themselves, the one to come or to go last. */
export function eventSecrets({
  EVENT_SECRET,
  EVENT_SECRET_PREVIOUS,
}: Pick<EventConfig, 'EVENT_SECRET' | 'EVENT_SECRET_PREVIOUS'>): string[] {
  return [EVENT_SECRET, EVENT_SECRET_PREVIOUS].filter((secret) => secret !== undefined);
}

/** Makes the sink of a service that hears events; undefined without a secret, for then anybody could post. */
export function openServiceSink({
  config,
  logger,
  metrics,
}: Pick<ServiceEventsOptions, 'config' | 'logger' | 'metrics'>): EventSink | undefined {
  const secrets = eventSecrets(config);
  return secrets.length === 0 ? undefined : createEventSink({ secrets, logger, metrics: metrics.events });
}

/**
 * Sends what the service writes into its outbox and applies what it hears, until shutdown. Returns the database that the
 * service writes to: its commits wake the relay.
 * @throws StartupError (78) when there is no secret to sign with, and events are to be posted or sent through NATS
 */
export async function openServiceEvents(options: ServiceEventsOptions): Promise<Database> {
  const { service, config, database, logger, lifecycle, sink, subscriptions = [] } = options;
  const metrics = options.metrics.events;
  const transport = await openTransport(options);
  const relay = startRelay({ database, transport, logger, metrics, leaseMs: config.EVENT_LEASE_MS });
  lifecycle.onShutdown('event transport', () => transport.close());
  lifecycle.onShutdown('relay', () => relay.stop());
  metrics.outbox(createOutboxQueue(database).count);

  const waking = wakingAfterCommit(database, relay.wake);
  if (subscriptions.length > 0) {
    const maxFailures = config.EVENT_MAX_FAILURES;
    const receiver = createReceiver({ database: waking, subscriptions, logger, metrics, maxFailures });
    transport.subscribe(receiver);
    if (config.NATS_URL !== undefined && acceptsUnsigned(config)) {
      logger.warn('unsigned events are accepted over NATS: EVENT_SIGNATURES is accept-unsigned');
    }
    // Also beside NATS: while services move from one to the other, some still post.
    if (config.NATS_URL !== undefined && sink !== undefined) {
      sink.open(receiver);
      lifecycle.onShutdown('event sink', () => sink.close());
    }
    if (config.NATS_URL === undefined && sink === undefined) {
      logger.warn(`no event reaches ${service}: EVENT_SECRET is not set`);
    }
  }
  const keptForHours = config.EVENT_RETENTION_HOURS;
  startEventCleaner({ database, keptForHours, hears: subscriptions.length > 0, lifecycle, logger });
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
  // Well within the lease, so that an event is given up by one process before another takes it.
  const sendMs = Math.min(10_000, Math.ceil(config.EVENT_LEASE_MS / 3));
  const secrets = eventSecrets(config);
  if (config.NATS_URL !== undefined) {
    if (secrets.length === 0) {
      throw new StartupError('EVENT_SECRET must be set: events through NATS_URL are signed with it', 78);
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
      ...{ access, service, prefix: eventPrefix, secrets, logger, metrics: metrics.events },
      acceptUnsigned: acceptsUnsigned(config),
      replicas: config.NATS_STREAM_REPLICAS,
      timeoutMs: Math.min(5000, sendMs),
      ackWaitMs: config.EVENT_LEASE_MS,
    });
  }
  const { EVENT_SINKS: sinks = [] } = config;
  if (sinks.length > 0 && secrets.length === 0) {
    throw new StartupError('EVENT_SECRET must be set: EVENT_SINKS take only events that are signed', 78);
  }
  return createHttpTransport({ sinks, secrets, sink, timeoutMs: sendMs });
}
