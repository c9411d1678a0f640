import { type BackoffOptions, backoffMs } from '@zerda/chassis/backoff';
import type { Database } from '@zerda/chassis/database/database';
import type { Logger } from '@zerda/chassis/logging/logger';
import { requestLogFields } from '@zerda/chassis/request-context';
import type { Span, Tracer } from '@zerda/chassis/tracing/span';
import type { EventEnvelope } from '@zerda/contracts/events/envelope';
import type { EventMetrics, EventTransportName } from './event-metrics.ts';
import { startSendSpan } from './event-spans.ts';
import { type ClaimedEvent, createOutboxQueue, type Postponement } from './outbox-queue.ts';
import { type EventTransport, SendError } from './transport.ts';
import { createWakeUp } from './wake-up.ts';

export interface RelayOptions {
  readonly database: Database;
  readonly transport: Pick<EventTransport, 'send'>;
  readonly logger: Logger;
  readonly metrics: EventMetrics;
  /** Records spans of sampled events; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /** Kind of the transport, for spans; `http` by default. */
  readonly system?: EventTransportName;
  /** Maximum number of events in flight; 128 by default. */
  readonly maxInFlight?: number;
  /** Lease of a claimed event in milliseconds; 30,000 by default. It must exceed the send timeout of the transport. */
  readonly leaseMs?: number;
  /** Polling interval in milliseconds, for events that no wake-up reported; 1,000 by default. */
  readonly pollMs?: number;
  /** Milliseconds that `stop` waits for events in flight; 3,000 by default. */
  readonly stopMs?: number;
  /** Delay of an event that the receiver failed to process; 200 ms to 1 minute by default. */
  readonly eventBackoff?: BackoffOptions;
  /** Delay of the relay while the transport is unavailable; 100 ms to 5 s by default. */
  readonly transportBackoff?: BackoffOptions;
}

/** Sends the events in the outbox until it is stopped. Keeps the order of each subject. */
export interface Relay {
  /** Reports that the outbox may have new events. */
  wake(): void;
  /**
   * Stops claiming events. Resolves when all events in flight are recorded, or after `stopMs`: then their leases
   * expire.
   */
  stop(): Promise<void>;
}

/**
 * Consecutive failures before the relay logs a warning. Services that start together are briefly unavailable to each
 * other.
 */
const failuresBeforeWarning = 5;

/** The result of sending one event. Without an error, the event was acknowledged. */
interface SendResult {
  readonly event: ClaimedEvent;
  readonly error?: unknown;
}

/**
 * Starts a relay. Each cycle records the results of finished sends, one statement per kind of result. It then claims as
 * many events as it has capacity for and starts to send them. Sends that finish during a cycle are recorded in the next
 * one, so batches grow with the load. No transaction is open while an event is in flight.
 */
export function startRelay({
  database,
  transport,
  logger,
  metrics,
  tracer,
  system = 'http',
  maxInFlight = 128,
  leaseMs = 30_000,
  pollMs = 1000,
  stopMs = 3000,
  eventBackoff = { baseMs: 200, maxMs: 60_000 },
  transportBackoff = { baseMs: 100, maxMs: 5000 },
}: RelayOptions): Relay {
  const queue = createOutboxQueue(database);
  const wakeUp = createWakeUp();
  let results: SendResult[] = [];
  let inFlight = 0;
  let stopping = false;
  let stopTimedOut = false;
  /** Whether a claim may find events. */
  let mayHaveEvents = true;
  /** Consecutive pauses because the transport was unavailable. */
  let unavailableCount = 0;
  let pausedUntil = 0;
  /** Time at which the first postponed event may be claimed again. */
  let nextRetryAt = Number.POSITIVE_INFINITY;
  let databaseFailures = 0;

  async function send(event: ClaimedEvent, claimedAt: number): Promise<void> {
    let span: Span | undefined;
    try {
      // A process that was suspended may have lost its lease, and another relay may have sent the event.
      if (performance.now() - claimedAt > leaseMs / 2) return;
      span = tracer && startSendSpan(tracer, event, system);
      await transport.send(span === undefined ? event : { ...event, traceparent: span.traceparent });
      results.push({ event });
    } catch (error) {
      results.push({ event, error });
      const kind = kindOf(error);
      span?.fail(kind);
      if (kind === 'rejected') span?.addEvent('dead-lettered');
    } finally {
      span?.end();
      inFlight -= 1;
      wakeUp.notify();
    }
  }

  async function runCycle(): Promise<void> {
    await recordResults();
    const now = performance.now();
    if (stopping || !mayHaveEvents || now < pausedUntil) return;
    // While the transport is unavailable, one event probes it.
    const capacity = unavailableCount > 0 ? Math.min(1, 1 - inFlight) : maxInFlight - inFlight;
    if (capacity <= 0) return;
    // Reset before the claim, so that a wake-up during the claim is not lost.
    mayHaveEvents = false;
    const events = await queue.claim(capacity, leaseMs).catch((error: unknown) => {
      mayHaveEvents = true;
      throw error;
    });
    if (events.length === capacity) mayHaveEvents = true;
    for (const event of events) {
      inFlight += 1;
      void send(event, now);
    }
  }

  async function recordResults(): Promise<void> {
    const unrecorded = new Set(results);
    results = [];
    try {
      await recordSent(unrecorded);
      await recordFailures(unrecorded);
    } catch (error) {
      // Retried in the next cycle: a sent event that is not marked as sent is sent again.
      results = [...unrecorded, ...results];
      throw error;
    }
  }

  /** Removes recorded results from `unrecorded`, so that no result is recorded or counted twice. */
  async function recordSent(unrecorded: Set<SendResult>): Promise<void> {
    const sent = [...unrecorded].filter(({ error }) => error === undefined);
    if (sent.length === 0) return;
    markAvailable();
    if (await queue.markSent(sent.map(({ event }) => event))) mayHaveEvents = true;
    for (const result of sent) {
      unrecorded.delete(result);
      metrics.sent(result.event.type);
      if (logger.isLevelEnabled('debug'))
        logger.debug({ ...requestOf(result.event), ...logFields(result.event) }, 'event sent');
    }
  }

  /** Same as `recordSent`, for sends that failed. */
  async function recordFailures(unrecorded: Set<SendResult>): Promise<void> {
    const postponed = new Map<SendResult, Postponement>();
    for (const result of [...unrecorded]) {
      const { event, error } = result;
      const kind = kindOf(error);
      if (kind === 'rejected') {
        await queue.deadLetter(event, (error as Error).message);
        unrecorded.delete(result);
        metrics.deadLettered('sending', event.type);
        logger.error(
          { ...logFields(event), reason: (error as Error).message },
          'rejected event moved to dead letters',
        );
        markAvailable();
        mayHaveEvents = true;
      } else if (kind === 'unavailable') {
        markUnavailable(error);
        postponed.set(result, { event, delayMs: Math.max(0, Math.ceil(pausedUntil - performance.now())) });
      } else {
        markAvailable();
        postponed.set(result, { event, delayMs: backoffMs(event.attempts, eventBackoff) });
      }
    }
    await queue.postpone([...postponed.values()]);
    for (const [result, { event, delayMs }] of postponed) {
      unrecorded.delete(result);
      metrics.retried(event.type);
      if (kindOf(result.error) === 'failed')
        logger.warn({ ...logFields(event), err: result.error }, 'event delivery failed, will retry');
      nextRetryAt = Math.min(nextRetryAt, performance.now() + delayMs);
    }
  }

  /** Starts one pause for all events that fail together. */
  function markUnavailable(error: unknown): void {
    if (performance.now() < pausedUntil) return;
    unavailableCount += 1;
    pausedUntil = performance.now() + backoffMs(unavailableCount, transportBackoff);
    if (unavailableCount === failuresBeforeWarning) {
      logger.warn({ reason: (error as Error).message }, 'event transport unavailable');
    }
  }

  function markAvailable(): void {
    if (unavailableCount >= failuresBeforeWarning) logger.info('event transport available');
    unavailableCount = 0;
  }

  async function run(): Promise<void> {
    while (!stopTimedOut && (!stopping || inFlight > 0 || results.length > 0)) {
      try {
        await runCycle();
        metrics.relayCycle();
        databaseFailures = 0;
      } catch (error) {
        databaseFailures += 1;
        if (databaseFailures === 1) logger.warn({ err: error }, 'outbox query failed');
        // At shutdown the relay does not wait for an unavailable database; the leases expire.
        if (stopping && inFlight === 0) return;
        await wakeUp.wait(backoffMs(databaseFailures, transportBackoff));
        continue;
      }
      if (results.length > 0 || (mayHaveEvents && !stopping && hasCapacity())) continue;
      const now = performance.now();
      const notified = await wakeUp.wait(
        Math.min(pollMs, now < pausedUntil ? pausedUntil - now : pollMs, nextRetryAt - now),
      );
      if (notified && performance.now() < nextRetryAt) continue;
      nextRetryAt = Number.POSITIVE_INFINITY;
      mayHaveEvents = true;
    }
  }

  /** Returns whether the relay can claim events now. */
  function hasCapacity(): boolean {
    return (
      performance.now() >= pausedUntil && (unavailableCount > 0 ? inFlight === 0 : inFlight < maxInFlight)
    );
  }

  const running = run();
  return {
    wake() {
      mayHaveEvents = true;
      wakeUp.notify();
    },
    async stop() {
      stopping = true;
      wakeUp.notify();
      const timer = setTimeout(() => {
        stopTimedOut = true;
        wakeUp.notify();
      }, stopMs);
      await running;
      clearTimeout(timer);
    },
  };
}

function kindOf(error: unknown): SendError['kind'] {
  return error instanceof SendError ? error.kind : 'failed';
}

/** Returns the log fields of the request that wrote an event. */
function requestOf({ text }: ClaimedEvent) {
  const { correlationid: correlationId = '', traceparent } = JSON.parse(text) as EventEnvelope;
  return requestLogFields({ correlationId, traceparent });
}

function logFields({ id, type, subject, attempts }: ClaimedEvent) {
  return { event_id: id, type, subject, attempts };
}
