/** An event as the outbox has it. */
export interface OutgoingEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** The whole CloudEvent in JSON. */
  readonly text: string;
}

/**
 * Why an event was not taken: the way or the other side is `unavailable`, so others would not be taken either; the other
 * side `failed` with this one and wants it again; it has `refused` this one for good.
 */
export type SendFailure = 'unavailable' | 'failed' | 'refused';

/** An event was not acknowledged; whether it has arrived all the same is not known. */
export class SendError extends Error {
  readonly kind: SendFailure;

  constructor(kind: SendFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SendError';
    this.kind = kind;
  }
}

/** What became of an event at its receiver. */
export type Outcome =
  /** Its effect is committed. */
  | 'applied'
  /** It had been dealt with before. */
  | 'duplicate'
  /** A newer version of its subject had come first. */
  | 'stale'
  /** Nobody here hears its type. */
  | 'ignored'
  /** It was given up and lies in the dead letters. */
  | 'dead-lettered'
  /** Its handler failed; it must come again. */
  | 'failed'
  /** The database is away; it must come again. */
  | 'unavailable';

export interface Receipt {
  readonly outcome: Outcome;
  /** Milliseconds after which it should come again; 0 when it need not. */
  readonly retryInMs: number;
}

/** Where a transport hands events over. */
export interface EventReceiver {
  /** Types that have a handler. */
  readonly types: readonly string[];
  /**
   * Deals with one event, given as the text that came. When the promise resolves without a time to come again, what is to be
   * kept of it is committed, and it may be acknowledged.
   * @throws MalformedEventError when it is no CloudEvent
   */
  receive(text: string): Promise<Receipt>;
  /** Puts what is no event into the dead letters, for transports whose sender has gone. */
  bury(text: string, error: string): Promise<void>;
}

/** What came is no CloudEvent in JSON. */
export class MalformedEventError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MalformedEventError';
  }
}

/** The way of events from one service to others; at least once, and in the order of their sending unless something fails. */
export interface EventTransport {
  /**
   * Sends one event. Resolves when it is safe with everybody who is to have it.
   * @throws SendError
   */
  send(event: OutgoingEvent): Promise<void>;
  /** Hands over what others send from now on, whether or not the way is open yet. Once only. */
  subscribe(receiver: EventReceiver): void;
  /** Takes no more events, waits for those in hand, and closes what is open. */
  close(): Promise<void>;
}
