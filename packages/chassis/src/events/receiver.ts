import { createHash, randomUUID } from 'node:crypto';
import { type DataOf, type EventDefinition, receivedData } from '@zerda/contracts/events/definition';
import { anyEvent, type EventEnvelope, type EventOf, eventEnvelope } from '@zerda/contracts/events/envelope';
import type { z } from 'zod';
import type { Database, Queries } from '../database/database.ts';
import { driverError } from '../database/database-errors.ts';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import type { Logger } from '../logging/logger.ts';
import type { EventMetrics } from '../metrics/event-metrics.ts';
import { runInContext } from '../request-context.ts';
import { type BackoffOptions, backoffMs } from './backoff.ts';
import { buryReceived, countFailure, judge, note } from './inbox.ts';
import { type EventReceiver, MalformedEventError, type Outcome, type Receipt } from './transport.ts';

/**
 * The effect of an event, in the transaction that also notes it: SQL alone, for the transaction may be run again. An effect
 * that is too long for one transaction does a part and returns `more`; it is called again, in a new transaction, until it
 * does not. What it has done by then must be fit to be found by itself when the process dies in between.
 */
export type Handle<Data> = (tx: Queries, event: EventOf<Data>) => Promise<'more' | undefined>;

/** A kind of event that is heard, and its effect. */
export interface Subscription {
  readonly definition: EventDefinition;
  readonly handle: Handle<never>;
}

/** Names the effect of one kind of event. */
export function on<Definition extends EventDefinition>(
  definition: Definition,
  handle: Handle<DataOf<Definition>>,
): Subscription {
  return { definition, handle };
}

export interface ReceiverOptions {
  readonly database: Database;
  readonly subscriptions: readonly Subscription[];
  readonly logger: Logger;
  readonly metrics: EventMetrics;
  /** Failures after which an event goes to the dead letters; 10 by default. */
  readonly maxFailures?: number;
  /** Pauses between them; 200 ms to a minute by default. */
  readonly backoff?: BackoffOptions;
}

/** Milliseconds that one handler may go on having its transactions run again. */
const handlerMs = 30_000;
/** Characters of an error that are kept. */
const errorLength = 2000;

/** An event that somebody here hears, read and unread. */
interface Heard {
  readonly subscription: Subscription;
  readonly envelope: EventEnvelope;
  readonly event: EventOf<unknown>;
}

/**
 * Applies events: each once, and of each subject only what is newer than what was applied. A type that nobody hears is passed
 * over; one that does not fit its schema goes to the dead letters, for it will not fit the next time either.
 */
export function createReceiver({
  database,
  subscriptions,
  logger,
  metrics,
  maxFailures = 10,
  backoff = { baseMs: 200, maxMs: 60_000 },
}: ReceiverOptions): EventReceiver {
  const byType = new Map<string, Subscription>(subscriptions.map((one) => [one.definition.type, one]));

  async function apply({ subscription, event, envelope }: Heard): Promise<Outcome> {
    for (;;) {
      const step = await database.write(async (tx) => {
        const verdict = await judge(tx, envelope);
        if (verdict === 'duplicate') return verdict;
        if (verdict === 'stale') {
          await note(tx, envelope, { applied: false });
          return verdict;
        }
        if ((await subscription.handle(tx, event as EventOf<never>)) === 'more') return 'more';
        await note(tx, envelope, { applied: true });
        return 'applied';
      });
      if (step !== 'more') return step;
    }
  }

  /** The database being away says nothing about the event, so it is not counted. */
  async function fail({ envelope }: Heard, text: string, error: unknown): Promise<Receipt> {
    if (isAway(error)) return { outcome: 'unavailable', retryInMs: backoffMs(1, backoff) };
    const message = messageOf(error);
    const { id: event_id, type, subject } = envelope;
    const fate = await database.write(async (tx) => {
      // While this delivery failed another one may have dealt with the event, and then nothing is to be tried again or given up.
      if ((await judge(tx, envelope)) === 'duplicate') return undefined;
      const counted = await countFailure(tx, envelope, message);
      if (counted.buried || counted.failures >= maxFailures) {
        await buryReceived(tx, { ...envelope, text, error: message, attempts: counted.failures });
        return { ...counted, buried: true };
      }
      return counted;
    });
    if (fate === undefined) return { outcome: 'duplicate', retryInMs: 0 };
    const { failures, buried } = fate;
    if (!buried) {
      logger.warn({ err: error, event_id, type, subject, failures }, 'event failed: it is tried again');
      return { outcome: 'failed', retryInMs: backoffMs(failures, backoff) };
    }
    metrics.deadLettered('receiving', type);
    logger.error(
      { err: error, event_id, type, subject, failures },
      'event given up: it is in the dead letters',
    );
    return { outcome: 'dead-lettered', retryInMs: 0 };
  }

  async function deal(heard: Heard, text: string): Promise<Receipt> {
    try {
      return { outcome: await apply(heard), retryInMs: 0 };
    } catch (error) {
      return fail(heard, text, error).catch((second: unknown) => {
        if (!isAway(second)) logger.error({ err: second }, 'the failure of an event could not be counted');
        return { outcome: 'unavailable' as const, retryInMs: backoffMs(1, backoff) };
      });
    }
  }

  async function buryUnread(text: string, error: string, known?: z.infer<typeof anyEvent>): Promise<void> {
    // The same text has the same id, so that a repeat is no second letter.
    const id = known?.id ?? `sha256:${createHash('sha256').update(text).digest('hex')}`;
    const type = known?.type ?? '';
    const subject = typeof known?.subject === 'string' ? known.subject : '';
    await database.write((tx) => buryReceived(tx, { id, type, subject, text, error, attempts: 1 }));
    metrics.deadLettered('receiving', byType.has(type) ? type : 'unknown');
    logger.error({ event_id: id, reason: error }, 'what came cannot be read: it is in the dead letters');
  }

  return {
    types: [...byType.keys()],
    async receive(text) {
      const value = parse(text);
      const subscription = byType.get(value.type);
      if (subscription === undefined) return { outcome: 'ignored', retryInMs: 0 };
      const startedAt = performance.now();
      const receipt = await receiveHeard(subscription, value, text);
      metrics.received(value.type, receipt.outcome, (performance.now() - startedAt) / 1000);
      return receipt;
    },
    bury: (text, error) => buryUnread(text, error),
  };

  async function receiveHeard(
    subscription: Subscription,
    value: z.infer<typeof anyEvent>,
    text: string,
  ): Promise<Receipt> {
    const envelope = eventEnvelope.safeParse(value);
    const data = receivedData(subscription.definition).safeParse(value.data);
    const issues = [
      ...issuesOf(envelope, []),
      ...(value.source === subscription.definition.source ? [] : ['source: is another service']),
      ...issuesOf(data, ['data']),
    ];
    if (!envelope.success || !data.success || issues.length > 0) {
      try {
        await buryUnread(text, issues.join('; ').slice(0, errorLength), value);
        return { outcome: 'dead-lettered', retryInMs: 0 };
      } catch {
        return { outcome: 'unavailable', retryInMs: backoffMs(1, backoff) };
      }
    }
    const context = {
      correlationId: envelope.data.correlationid ?? randomUUID(),
      traceparent: envelope.data.traceparent,
      deadline: Deadline.after(handlerMs),
    };
    const heard = { subscription, envelope: envelope.data, event: { ...envelope.data, data: data.data } };
    return runInContext(context, () => deal(heard, text));
  }
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

function isAway(error: unknown): boolean {
  return error instanceof Failure && error.code === 'database-unavailable';
}

/** What the driver said: drizzle's own message has the values of the statement in it. */
function messageOf(error: unknown): string {
  return (driverError(error).message ?? String(error)).slice(0, errorLength);
}
