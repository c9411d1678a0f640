import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Where an event was given up. */
export type EventSide = 'sending' | 'receiving';

/** How an event came in. */
export type EventTransportName = 'http' | 'nats';

/** Why an event was rejected: it had no signature, or one that is not of this event under a secret of ours. */
export type RejectionReason = 'unsigned' | 'invalid';

/** Numbers of an outbox. */
export interface OutboxNumbers {
  /** Events that were not sent yet. */
  readonly pending: number;
  /** Seconds since the oldest of them was written; 0 when there is none. */
  readonly oldestSeconds: number;
}

/** The numbers of events sent and received. */
export interface EventMetrics {
  /** Counts an event that everybody who is to have it has acknowledged. */
  sent(type: string): void;
  /** Counts an event that has to be sent once more. */
  retried(type: string): void;
  /** Counts an event that was given up. */
  deadLettered(side: EventSide, type: string): void;
  /** Counts an event that had no effect because its signature was missing or wrong. */
  rejected(transport: EventTransportName, reason: RejectionReason): void;
  /** Counts an event that was taken although it was not signed. */
  acceptedUnsigned(): void;
  /** Counts an event that came, and measures what its handler took. */
  received(type: string, outcome: string, seconds: number): void;
  /** Shows the outbox; `read` is asked at each scrape, and what it cannot tell is not shown. */
  outbox(read: () => Promise<OutboxNumbers>): void;
}

const handlerBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createEventMetrics(registry: Registry): EventMetrics {
  const registers = [registry];
  const sent = new Counter({
    name: 'events_sent_total',
    help: 'Events that everybody who is to have them has acknowledged.',
    labelNames: ['type'],
    registers,
  });
  const retried = new Counter({
    name: 'events_retried_total',
    help: 'Attempts to send an event that failed, so that it is sent again.',
    labelNames: ['type'],
    registers,
  });
  const deadLettered = new Counter({
    name: 'events_dead_lettered_total',
    help: 'Events that were given up, when sending or receiving.',
    labelNames: ['side', 'type'],
    registers,
  });
  const rejected = new Counter({
    name: 'events_rejected_total',
    help: 'Events without effect because their signature was missing (unsigned) or wrong (invalid).',
    labelNames: ['transport', 'reason'],
    registers,
  });
  // Shown from the start: an increase from nothing to one is none for an alert.
  for (const transport of ['http', 'nats'] as const) {
    for (const reason of ['unsigned', 'invalid'] as const) rejected.inc({ transport, reason }, 0);
  }
  const acceptedUnsigned = new Counter({
    name: 'events_accepted_unsigned_total',
    help: 'Events over NATS that were taken without a signature, as EVENT_SIGNATURES=accept-unsigned allows.',
    registers,
  });
  const handled = new Histogram({
    name: 'event_handler_duration_seconds',
    help: 'Seconds that an event took at its receiver, by type and outcome: applied, duplicate, stale, failed, unavailable, dead-lettered.',
    labelNames: ['type', 'outcome'],
    buckets: handlerBuckets,
    registers,
  });

  let readOutbox: (() => Promise<OutboxNumbers>) | undefined;
  let numbers: Promise<OutboxNumbers | undefined> | undefined;
  /** One query a scrape for both gauges; a database that is away must not keep the other numbers from being shown. */
  function readOnce(): Promise<OutboxNumbers | undefined> {
    numbers ??= (readOutbox?.() ?? Promise.resolve(undefined))
      .catch(() => undefined)
      .finally(() => {
        numbers = undefined;
      });
    return numbers;
  }
  new Gauge({
    name: 'outbox_pending',
    help: 'Events in the outbox that were not sent yet.',
    registers,
    async collect() {
      const read = await readOnce();
      if (read === undefined) this.remove();
      else this.set(read.pending);
    },
  });
  new Gauge({
    name: 'outbox_oldest_seconds',
    help: 'Seconds since the oldest event in the outbox was written that was not sent yet.',
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
    received: (type, outcome, seconds) => handled.observe({ type, outcome }, seconds),
    outbox(read) {
      readOutbox = read;
    },
  };
}
