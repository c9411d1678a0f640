import { createDurationHistogram } from '@zerda/chassis/metrics/duration-histogram';
import { readInTime } from '@zerda/chassis/metrics/read-in-time';
import type { Span } from '@zerda/chassis/tracing/span';
import { Counter, Gauge, type Registry } from 'prom-client';

/** Side that moved an event to the dead letters. */
export type EventSide = 'sending' | 'receiving';

/** Transport of a received event. */
export type EventTransportName = 'http' | 'nats';

/** Reason for the rejection of an event: no signature, or an invalid one. */
export type RejectionReason = 'unsigned' | 'invalid';

/** State of an outbox. */
export interface OutboxNumbers {
  /** Events that are not sent yet. */
  readonly pending: number;
  /** Age of the oldest pending event in seconds; 0 if there is none. */
  readonly oldestSeconds: number;
}

/** Stored dead letters by side. */
export type DeadLetterNumbers = Readonly<Record<EventSide, number>>;

/** Metrics of sent and received events. */
export interface EventMetrics {
  /** Counts an event that all its receivers have acknowledged. */
  sent(type: string): void;
  /** Counts a failed attempt to send an event, which is retried. */
  retried(type: string): void;
  /** Counts an event that was moved to the dead letters. */
  deadLettered(side: EventSide, type: string): void;
  /** Counts an event that was rejected because its signature was missing or invalid. */
  rejected(transport: EventTransportName, reason: RejectionReason): void;
  /** Counts an unsigned event that was accepted. */
  acceptedUnsigned(): void;
  /** Counts a received event and records the duration of its handler. @param span recorded span of processing it */
  received(type: string, outcome: string, seconds: number, span?: Span): void;
  /** Exports the state of the outbox. `read` is called at each scrape; if it fails, the gauges are omitted. */
  outbox(read: () => Promise<OutboxNumbers>): void;
  /** Exports the stored dead letters, in the same way. */
  deadLetters(read: () => Promise<DeadLetterNumbers>): void;
  /** Records that the relay has read the outbox. */
  relayCycle(): void;
  /** Records the seconds from the creation of an event to its effect. @param span recorded span of processing it */
  delivered(type: string, seconds: number, span?: Span): void;
}

const handlerBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** From a delivery on the same machine to one after a long outage. */
const deliveryBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];

const created = new WeakMap<Registry, EventMetrics>();

/** Returns the event metrics of a registry; the first call creates them. */
export function eventMetrics(registry: Registry): EventMetrics {
  const existing = created.get(registry);
  if (existing !== undefined) return existing;
  const metrics = createEventMetrics(registry);
  created.set(registry, metrics);
  return metrics;
}

function createEventMetrics(registry: Registry): EventMetrics {
  const registers = [registry];
  const sent = new Counter({
    name: 'events_sent_total',
    help: 'Events that all their receivers have acknowledged.',
    labelNames: ['type'],
    registers,
  });
  const retried = new Counter({
    name: 'events_retried_total',
    help: 'Failed attempts to send an event, which are retried.',
    labelNames: ['type'],
    registers,
  });
  const deadLettered = new Counter({
    name: 'events_dead_lettered_total',
    help: 'Events moved to the dead letters, by side (sending, receiving) and type.',
    labelNames: ['side', 'type'],
    registers,
  });
  const rejected = new Counter({
    name: 'events_rejected_total',
    help: 'Events rejected because their signature was missing (unsigned) or invalid, by transport and reason.',
    labelNames: ['transport', 'reason'],
    registers,
  });
  // Exported as 0 from the start: otherwise `increase()` in an alert misses the first rejection.
  for (const transport of ['http', 'nats'] as const) {
    for (const reason of ['unsigned', 'invalid'] as const) rejected.inc({ transport, reason }, 0);
  }
  const acceptedUnsigned = new Counter({
    name: 'events_accepted_unsigned_total',
    help: 'Events over NATS accepted without a signature (EVENT_SIGNATURES=accept-unsigned).',
    registers,
  });
  const handled = createDurationHistogram({
    name: 'event_handler_duration_seconds',
    help: 'Duration of handling a received event in seconds, by type and outcome: applied, duplicate, stale, failed, unavailable, dead-lettered.',
    labelNames: ['type', 'outcome'],
    buckets: handlerBuckets,
    registry,
  });

  const delivery = createDurationHistogram({
    name: 'event_delivery_duration_seconds',
    help: 'Seconds from the creation of an event by its sender to its effect at the receiver, by type.',
    labelNames: ['type'],
    buckets: deliveryBuckets,
    registry,
  });
  let cycleAt: number | undefined;
  new Gauge({
    name: 'relay_last_cycle_timestamp_seconds',
    help: 'Unix time of the last time that the relay read the outbox, which it does at least once a second; absent before the first one.',
    registers,
    collect() {
      if (cycleAt === undefined) this.remove();
      else this.set(cycleAt);
    },
  });

  let readOutbox: (() => Promise<OutboxNumbers>) | undefined;
  let numbers: Promise<OutboxNumbers | undefined> | undefined;
  /** Reads the outbox once per scrape for both gauges. An unavailable database must not fail the scrape. */
  function readOnce(): Promise<OutboxNumbers | undefined> {
    numbers ??= readInTime(async () => readOutbox?.()).finally(() => {
      numbers = undefined;
    });
    return numbers;
  }
  let readDeadLetters: (() => Promise<DeadLetterNumbers>) | undefined;
  new Gauge({
    name: 'dead_letters',
    help: 'Stored dead letters that wait for a replay or discard, by side (sending, receiving); absent while the database is unavailable.',
    labelNames: ['side'],
    registers,
    async collect() {
      const read = await readInTime(async () => readDeadLetters?.());
      this.reset();
      for (const [side, count] of Object.entries(read ?? {})) this.set({ side }, count);
    },
  });
  new Gauge({
    name: 'outbox_pending',
    help: 'Events in the outbox that are not sent yet.',
    registers,
    async collect() {
      const read = await readOnce();
      if (read === undefined) this.remove();
      else this.set(read.pending);
    },
  });
  new Gauge({
    name: 'outbox_oldest_seconds',
    help: 'Age of the oldest unsent event in the outbox, in seconds.',
    registers,
    async collect() {
      const read = await readOnce();
      if (read === undefined) this.remove();
      else this.set(read.oldestSeconds);
    },
  });

  return {
    sent: (type) => sent.inc({ type }),
    retried: (type) => retried.inc({ type }),
    deadLettered: (side, type) => deadLettered.inc({ side, type }),
    rejected: (transport, reason) => rejected.inc({ transport, reason }),
    acceptedUnsigned: () => acceptedUnsigned.inc(),
    received: (type, outcome, seconds, span) => handled.observe({ type, outcome }, seconds, span),
    outbox(read) {
      readOutbox = read;
    },
    deadLetters(read) {
      readDeadLetters = read;
    },
    relayCycle() {
      cycleAt = Date.now() / 1000;
    },
    delivered: (type, seconds, span) => delivery.observe({ type }, Math.max(0, seconds), span),
  };
}
