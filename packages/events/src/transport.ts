import type { EventTransportName } from './event-metrics.ts';

/** An event from the outbox. */
export interface OutgoingEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** The complete CloudEvent as JSON. */
  readonly text: string;
  /** Number of times that the event was sent, including this one; 1 by default. */
  readonly attempts?: number;
  /** `traceparent` of the span that sends the event; undefined if none is recorded. */
  readonly traceparent?: string | undefined;
}

/** What a transport knows of one delivery of an event, for spans. */
export interface DeliveryInfo {
  readonly system: EventTransportName;
  /** Number of the delivery, 1 for the first one. */
  readonly count: number | undefined;
  /** `traceparent` of the span that sent the event. */
  readonly traceparent: string | undefined;
}

/**
 * Why an event was not delivered. `unavailable`: no event can be delivered now. `failed`: the receiver failed to
 * process this event and expects a retry. `rejected`: the receiver will never accept this event.
 */
export type SendFailure = 'unavailable' | 'failed' | 'rejected';

/** An event was not acknowledged. It may have arrived. */
export class SendError extends Error {
  readonly kind: SendFailure;

  constructor(kind: SendFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SendError';
    this.kind = kind;
  }
}

/** The result of processing an event. */
export type Outcome =
  /** The handler ran and its transaction is committed. */
  | 'applied'
  /** The event was processed before. */
  | 'duplicate'
  /** A newer version of its subject was processed before. */
  | 'stale'
  /** Its type has no subscription. */
  | 'ignored'
  /** The event moved to the dead letters. */
  | 'dead-lettered'
  /** Its handler failed; the transport must redeliver it. */
  | 'failed'
  /** The database is unavailable; the transport must redeliver it. */
  | 'unavailable';

export interface Receipt {
  readonly outcome: Outcome;
  /** Delay until redelivery, in milliseconds; 0 for no redelivery. */
  readonly retryInMs: number;
}

/** Receives events from a transport. */
export interface EventReceiver {
  /** Event types that have a handler. */
  readonly types: readonly string[];
  /**
   * Processes one event, given as received. A replay of a dead letter has no `delivery`. If the result requests no redelivery, everything is
   * committed and the transport may acknowledge the event.
   * @throws MalformedEventError if the text is not a CloudEvent
   */
  receive(text: string, delivery?: Partial<DeliveryInfo>): Promise<Receipt>;
  /**
   * Moves a text that is not an event to the dead letters. For transports that cannot return an error to the sender.
   */
  deadLetter(text: string, error: string): Promise<void>;
}

/** The received text is not a CloudEvent in JSON. */
export class MalformedEventError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MalformedEventError';
  }
}

/** Delivers events from one service to others: at least once, and in the order of sending unless a delivery fails. */
export interface EventTransport {
  /** Sends one event. Resolves when every receiver, or the broker, has stored it. */
  send(event: OutgoingEvent): Promise<void>;
  /** Starts to pass received events to `receiver`, as soon as the transport is connected. Call it once. */
  subscribe(receiver: EventReceiver): void;
  /** Stops receiving, waits for events in flight and closes all connections. */
  close(): Promise<void>;
}
