import { createHash, randomUUID } from 'node:crypto';
import { type BackoffOptions, backoffMs } from '@zerda/chassis/backoff';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { driverError } from '@zerda/chassis/database/database-errors';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import type { Span, Tracer } from '@zerda/chassis/tracing/span';
import { unrecordedTraceparent } from '@zerda/chassis/tracing/traceparent';
import { type DataOf, type EventDefinition, receivedData } from '@zerda/contracts/events/definition';
import { anyEvent, type EventEnvelope, type EventOf, eventEnvelope } from '@zerda/contracts/events/envelope';
import type { z } from 'zod';
import type { EventMetrics } from './event-metrics.ts';
import { startProcessSpan } from './event-spans.ts';
import { classify, countFailure, deadLetterReceived, recordProcessed } from './inbox.ts';
import { type EventReceiver, MalformedEventError, type Outcome, type Receipt } from './transport.ts';

/**
 * Applies an event in the transaction that also records it. It may only execute SQL, because the transaction can be
 * retried.
 * If the work is too long for one transaction, the handler does a part and returns `more`. It is then called again in a
 * new transaction, until it returns undefined. It must be able to resume after a crash between two parts.
 */
export type Handle<Data> = (tx: Queries, event: EventOf<Data>) => Promise<'more' | undefined>;

/** An event type and its handler. */
export interface Subscription {
  readonly definition: EventDefinition;
  readonly handle: Handle<never>;
}

/** Subscribes a handler to one event type. */
export function onEvent<Definition extends EventDefinition>(
  definition: Definition,
  handle: Handle<DataOf<Definition>>,
): Subscription {
  return { definition, handle };
}

/** Event types that a service receives, by name. */
type ReceivedEvents = Readonly<Record<string, EventDefinition>>;

/** Subscribes to event types. The compiler requires one handler for each. */
export function subscribe<Events extends ReceivedEvents>(
  events: Events,
  handlers: { readonly [Name in keyof Events]: Handle<DataOf<Events[Name]>> },
): readonly Subscription[] {
  return Object.entries(events).map(([name, definition]) => ({
    definition,
    handle: handlers[name] as Handle<never>,
  }));
}

export interface ReceiverOptions {
  readonly database: Database;
  readonly subscriptions: readonly Subscription[];
  readonly logger: Logger;
  readonly metrics: EventMetrics;
  /** Records spans of sampled events; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /** Name of the service, for spans. */
  readonly service?: string | undefined;
  /** Number of failures after which an event moves to the dead letters; 10 by default. */
  readonly maxFailures?: number;
  /** Delay between attempts; 200 ms to 1 minute by default. */
  readonly backoff?: BackoffOptions;
}

/** Milliseconds during which transactions of one handler may be retried. */
const handlerTimeoutMs = 30_000;
/** Maximum number of characters of a stored error. */
const maxErrorLength = 2000;

/** A received event with its subscription: as an envelope, and with parsed data. */
interface Delivery {
  readonly subscription: Subscription;
  readonly envelope: EventEnvelope;
  readonly event: EventOf<unknown>;
}

/**
 * Creates a receiver that applies each event once. An event that is older than the last applied version of its subject
 * has no effect.
 * Events of types without a subscription are ignored. Events that do not match their schema move to the dead letters at
 * once, because a retry cannot succeed.
 */
export function createReceiver({
  database,
  subscriptions,
  logger,
  metrics,
  tracer,
  service,
  maxFailures = 10,
  backoff = { baseMs: 200, maxMs: 60_000 },
}: ReceiverOptions): EventReceiver {
  const byType = new Map<string, Subscription>(subscriptions.map((entry) => [entry.definition.type, entry]));

  async function apply({ subscription, event, envelope }: Delivery): Promise<Outcome> {
    for (;;) {
      const step = await database.transaction(async (tx) => {
        const classification = await classify(tx, envelope);
        if (classification === 'duplicate') return classification;
        if (classification === 'stale') {
          await recordProcessed(tx, envelope, { applied: false });
          return classification;
        }
        if ((await subscription.handle(tx, event as EventOf<never>)) === 'more') return 'more';
        await recordProcessed(tx, envelope, { applied: true });
        return 'applied';
      });
      if (step !== 'more') return step;
    }
  }

  /** Does not count a failure if the database is unavailable. */
  async function recordFailure({ envelope }: Delivery, text: string, error: unknown): Promise<Receipt> {
    if (isDatabaseUnavailable(error)) return { outcome: 'unavailable', retryInMs: backoffMs(1, backoff) };
    const message = messageOf(error);
    const { id: event_id, type, subject } = envelope;
    const failure = await database.transaction(async (tx) => {
      // A concurrent delivery may have processed the event meanwhile.
      if ((await classify(tx, envelope)) === 'duplicate') return undefined;
      const counted = await countFailure(tx, envelope, message);
      if (counted.deadLettered || counted.failures >= maxFailures) {
        await deadLetterReceived(tx, { ...envelope, text, error: message, attempts: counted.failures });
        return { ...counted, deadLettered: true };
      }
      return counted;
    });
    if (failure === undefined) return { outcome: 'duplicate', retryInMs: 0 };
    const { failures, deadLettered } = failure;
    if (!deadLettered) {
      logger.warn({ err: error, event_id, type, subject, failures }, 'event failed, will retry');
      return { outcome: 'failed', retryInMs: backoffMs(failures, backoff) };
    }
    metrics.deadLettered('receiving', type);
    logger.error({ err: error, event_id, type, subject, failures }, 'failed event moved to dead letters');
    return { outcome: 'dead-lettered', retryInMs: 0 };
  }

  async function processDelivery(delivery: Delivery, text: string): Promise<Receipt> {
    try {
      const outcome = await apply(delivery);
      if (outcome === 'applied')
        metrics.delivered(
          delivery.envelope.type,
          (Date.now() - Date.parse(delivery.envelope.time)) / 1000,
          currentContext()?.span,
        );
      if (logger.isLevelEnabled('debug')) {
        const { id: event_id, type, subject } = delivery.envelope;
        logger.debug({ event_id, type, subject, outcome }, 'event processed');
      }
      return { outcome, retryInMs: 0 };
    } catch (error) {
      return recordFailure(delivery, text, error).catch((countingError: unknown) => {
        if (!isDatabaseUnavailable(countingError))
          logger.error({ err: countingError }, 'recording the event failure failed');
        return { outcome: 'unavailable' as const, retryInMs: backoffMs(1, backoff) };
      });
    }
  }

  async function deadLetterInvalid(
    text: string,
    error: string,
    known?: z.infer<typeof anyEvent>,
  ): Promise<void> {
    // A repeated text gets the same id, so it updates its dead letter.
    const id = known?.id ?? `sha256:${createHash('sha256').update(text).digest('hex')}`;
    const type = known?.type ?? '';
    const source = known?.source ?? '';
    const subject = typeof known?.subject === 'string' ? known.subject : '';
    await database.transaction((tx) =>
      deadLetterReceived(tx, { id, source, type, subject, text, error, attempts: 1 }),
    );
    metrics.deadLettered('receiving', byType.has(type) ? type : 'unknown');
    logger.error({ event_id: id, reason: error }, 'invalid event moved to dead letters');
  }

  return {
    types: [...byType.keys()],
    async receive(text, delivery = {}) {
      const value = parse(text);
      const subscription = byType.get(value.type);
      if (subscription === undefined) return { outcome: 'ignored', retryInMs: 0 };
      const startedAt = performance.now();
      const span = tracer && startProcessSpan(tracer, value, delivery, service);
      const receipt = await receiveSubscribed(subscription, value, text, span);
      if (span !== undefined) endSpan(span, receipt);
      metrics.received(value.type, receipt.outcome, (performance.now() - startedAt) / 1000, span);
      return receipt;
    },
    deadLetter: (text, error) => deadLetterInvalid(text, error),
  };

  async function receiveSubscribed(
    subscription: Subscription,
    value: z.infer<typeof anyEvent>,
    text: string,
    span: Span | undefined,
  ): Promise<Receipt> {
    const envelope = eventEnvelope.safeParse(value);
    const data = receivedData(subscription.definition).safeParse(value.data);
    const issues = [
      ...issuesOf(envelope, []),
      ...(value.source === subscription.definition.source
        ? []
        : [`source: must be ${subscription.definition.source}`]),
      ...issuesOf(data, ['data']),
    ];
    if (!envelope.success || !data.success || issues.length > 0) {
      try {
        await deadLetterInvalid(text, issues.join('; ').slice(0, maxErrorLength), value);
        return { outcome: 'dead-lettered', retryInMs: 0 };
      } catch {
        return { outcome: 'unavailable', retryInMs: backoffMs(1, backoff) };
      }
    }
    const context = {
      correlationId: envelope.data.correlationid ?? randomUUID(),
      traceparent:
        span?.traceparent ?? unrecordedTraceparent(envelope.data.traceparent, tracer !== undefined),
      span,
      deadline: Deadline.after(handlerTimeoutMs),
      audit: {
        actor: { type: 'service', id: serviceOf(subscription.definition) } as const,
        eventId: envelope.data.id,
      },
    };
    const delivery = { subscription, envelope: envelope.data, event: { ...envelope.data, data: data.data } };
    return runInContext(context, () => processDelivery(delivery, text));
  }
}

/** Returns the name of the service that sends an event. */
function serviceOf({ source }: EventDefinition): string {
  return source.replace(/^\//, '');
}

/** Outcomes of a delivery that did not apply or skip its event. */
const failedOutcomes: ReadonlySet<Outcome> = new Set(['failed', 'unavailable', 'dead-lettered']);

function endSpan(span: Span, { outcome }: Receipt): void {
  span.set({ 'zerda.event.outcome': outcome });
  if (failedOutcomes.has(outcome)) span.fail(outcome);
  if (outcome === 'dead-lettered') span.addEvent('dead-lettered');
  span.end();
}

function parse(text: string): z.infer<typeof anyEvent> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new MalformedEventError('not JSON');
  }
  const result = anyEvent.safeParse(value);
  if (!result.success) throw new MalformedEventError(issuesOf(result, []).join('; '));
  return result.data;
}

function issuesOf(result: z.ZodSafeParseResult<unknown>, above: readonly string[]): string[] {
  if (result.success) return [];
  return result.error.issues.map(({ path, message }) => `${[...above, ...path].join('.')}: ${message}`);
}

function isDatabaseUnavailable(error: unknown): boolean {
  return error instanceof Failure && error.code === 'database-unavailable';
}

/** Returns the message of the driver. The message of drizzle would contain the values of the statement. */
function messageOf(error: unknown): string {
  return (driverError(error).message ?? String(error)).slice(0, maxErrorLength);
}
