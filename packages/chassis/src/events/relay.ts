import type { Database } from '../database/database.ts';
import type { Logger } from '../logging/logger.ts';
import type { EventMetrics } from '../metrics/event-metrics.ts';
import { type BackoffOptions, backoffMs } from './backoff.ts';
import { createBell } from './bell.ts';
import { type ClaimedEvent, createOutboxQueue, type Postponement } from './outbox-queue.ts';
import { type EventTransport, SendError } from './transport.ts';

export interface RelayOptions {
  readonly database: Database;
  readonly transport: Pick<EventTransport, 'send'>;
  readonly logger: Logger;
  readonly metrics: EventMetrics;
  /** Events under way at the same time; 128 by default. */
  readonly maxInFlight?: number;
  /** Milliseconds that an event belongs to this relay; 30,000 by default, and longer than a transport takes to give up. */
  readonly leaseMs?: number;
  /** Milliseconds after which the outbox is looked at although nobody woke the relay; 1,000 by default. */
  readonly pollMs?: number;
  /** Milliseconds that what is under way has to end when the relay is stopped; 3,000 by default. */
  readonly stopMs?: number;
  /** Pauses of one event that its receiver failed with; 200 ms to a minute by default. */
  readonly eventBackoff?: BackoffOptions;
  /** Pauses of the relay while the way is closed; 100 ms to 5 s by default. */
  readonly wayBackoff?: BackoffOptions;
}

/** Sends what is in the outbox, in the order of each subject, until it is stopped. */
export interface Relay {
  /** Says that the outbox may have something new. */
  wake(): void;
  /** Claims nothing more; resolves when what is under way has been settled, or was given up: then leases run out. */
  stop(): Promise<void>;
}

/** Pauses in a row that are told of: services that start together miss one another at first. */
const patience = 5;

/** How the sending of one event ended; without an error it was acknowledged. */
interface Settled {
  readonly event: ClaimedEvent;
  readonly error?: unknown;
}

/**
 * Works in turns: a turn writes down in one statement each how sendings have ended, claims as many events as there is room
 * for, and starts to send them. What ends during a turn is for the next one, so that batches grow by themselves under load.
 * No transaction is open while an event is under way.
 */
export function startRelay({
  database,
  transport,
  logger,
  metrics,
  maxInFlight = 128,
  leaseMs = 30_000,
  pollMs = 1000,
  stopMs = 3000,
  eventBackoff = { baseMs: 200, maxMs: 60_000 },
  wayBackoff = { baseMs: 100, maxMs: 5000 },
}: RelayOptions): Relay {
  const queue = createOutboxQueue(database);
  const bell = createBell();
  let settled: Settled[] = [];
  let inFlight = 0;
  let stopping = false;
  let givenUp = false;
  /** Whether a claim may find something. */
  let expecting = true;
  /** Pauses in a row in which the way was closed. */
  let closedTimes = 0;
  let closedUntil = 0;
  /** When the first of the events that were let go may be claimed again. */
  let dueAt = Number.POSITIVE_INFINITY;
  let faults = 0;

  async function send(event: ClaimedEvent, claimedAt: number): Promise<void> {
    try {
      // A process that was stopped for long has lost its lease, and should not send what another one has sent.
      if (performance.now() - claimedAt > leaseMs / 2) return;
      await transport.send(event);
      settled.push({ event });
    } catch (error) {
      settled.push({ event, error });
    } finally {
      inFlight -= 1;
      bell.ring();
    }
  }

  async function turn(): Promise<void> {
    await settle();
    const now = performance.now();
    if (stopping || !expecting || now < closedUntil) return;
    // One event finds out whether the way is open again.
    const room = closedTimes > 0 ? Math.min(1, 1 - inFlight) : maxInFlight - inFlight;
    if (room <= 0) return;
    const events = await queue.claim(room, leaseMs);
    expecting = events.length === room;
    for (const event of events) {
      inFlight += 1;
      void send(event, now);
    }
  }

  async function settle(): Promise<void> {
    const ended = new Set(settled);
    settled = [];
    try {
      await settleSent(ended);
      await settleFailed(ended);
    } catch (error) {
      // Kept for the next turn: a sent event that is not marked is sent again.
      settled = [...ended, ...settled];
      throw error;
    }
  }

  /** Takes out of `ended` what is written down, so that it is neither written nor counted twice. */
  async function settleSent(ended: Set<Settled>): Promise<void> {
    const sent = [...ended].filter(({ error }) => error === undefined);
    if (sent.length === 0) return;
    openWay();
    if (await queue.markSent(sent.map(({ event }) => event))) expecting = true;
    for (const one of sent) {
      ended.delete(one);
      metrics.sent(one.event.type);
    }
  }

  /** As `settleSent`, for sendings that failed. */
  async function settleFailed(ended: Set<Settled>): Promise<void> {
    const postponed = new Map<Settled, Postponement>();
    for (const one of [...ended]) {
      const { event, error } = one;
      const kind = kindOf(error);
      if (kind === 'refused') {
        await queue.bury(event, (error as Error).message);
        ended.delete(one);
        metrics.deadLettered('sending', event.type);
        logger.error(
          { ...lineOf(event), reason: (error as Error).message },
          'event refused: it is in the dead letters',
        );
        openWay();
        expecting = true;
      } else if (kind === 'unavailable') {
        closeWay(error);
        postponed.set(one, { event, delayMs: Math.max(0, Math.ceil(closedUntil - performance.now())) });
      } else {
        openWay();
        postponed.set(one, { event, delayMs: backoffMs(event.attempts, eventBackoff) });
      }
    }
    await queue.postpone([...postponed.values()]);
    for (const [one, { event, delayMs }] of postponed) {
      ended.delete(one);
      metrics.retried(event.type);
      if (kindOf(one.error) === 'failed')
        logger.warn({ ...lineOf(event), err: one.error }, 'event not taken: it is sent again');
      dueAt = Math.min(dueAt, performance.now() + delayMs);
    }
  }

  /** Pauses once for all events that come back together. */
  function closeWay(error: unknown): void {
    if (performance.now() < closedUntil) return;
    closedTimes += 1;
    closedUntil = performance.now() + backoffMs(closedTimes, wayBackoff);
    if (closedTimes === patience) {
      logger.warn({ reason: (error as Error).message }, 'events cannot be sent; they wait in the outbox');
    }
  }

  function openWay(): void {
    if (closedTimes >= patience) logger.info('events can be sent again');
    closedTimes = 0;
  }

  async function run(): Promise<void> {
    while (!givenUp && (!stopping || inFlight > 0 || settled.length > 0)) {
      try {
        await turn();
        faults = 0;
      } catch (error) {
        faults += 1;
        if (faults === 1) logger.warn({ err: error }, 'the outbox cannot be read');
        // At the end nobody waits for a database that is away; the leases run out.
        if (stopping && inFlight === 0) return;
        await bell.heard(backoffMs(faults, wayBackoff));
        continue;
      }
      if (settled.length > 0 || (expecting && !stopping && roomNow())) continue;
      const now = performance.now();
      const rang = await bell.heard(
        Math.min(pollMs, now < closedUntil ? closedUntil - now : pollMs, dueAt - now),
      );
      if (rang && performance.now() < dueAt) continue;
      dueAt = Number.POSITIVE_INFINITY;
      expecting = true;
    }
  }

  /** Whether a claim could be made at once. */
  function roomNow(): boolean {
    return performance.now() >= closedUntil && (closedTimes > 0 ? inFlight === 0 : inFlight < maxInFlight);
  }

  const running = run();
  return {
    wake() {
      expecting = true;
      bell.ring();
    },
    async stop() {
      stopping = true;
      bell.ring();
      const timer = setTimeout(() => {
        givenUp = true;
        bell.ring();
      }, stopMs);
      await running;
      clearTimeout(timer);
    },
  };
}

function kindOf(error: unknown): SendError['kind'] {
  return error instanceof SendError ? error.kind : 'failed';
}

function lineOf({ id, type, subject, attempts }: ClaimedEvent) {
  return { event_id: id, type, subject, attempts };
}
