import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import type { Logger } from '../logging/logger.ts';
import { createRepeatedWarning } from '../logging/repeated-warning.ts';
import type { EventMetrics } from '../metrics/event-metrics.ts';
import { isMessageSigned, signatureHeader } from './signature.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** Milliseconds after which an event comes again whose receiver had a fault of its own. */
const faultPauseMs = 1000;

export interface NatsSubscriptionOptions {
  readonly receiver: EventReceiver;
  /** Secrets of which a sender must know one. */
  readonly secrets: readonly string[];
  /** Takes messages without a signature, too. */
  readonly acceptUnsigned: boolean;
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected' | 'acceptedUnsigned'>;
  /** Milliseconds after which an event comes again unless it is heard of. */
  readonly ackWaitMs: number;
  /** Events in hand at the same time. */
  readonly maxInHand: number;
}

/** Deals with the messages of a consumer. */
export interface NatsSubscription {
  /** Hands messages over until there are no more. One without a valid signature is dropped without effect. */
  drain(messages: ConsumerMessages): Promise<void>;
  /** Resolves when nothing is in hand. */
  settled(): Promise<void>;
}

/** Events of one subject one after the other, all others side by side; each is answered when its receipt is there. */
export function createNatsSubscription({
  receiver,
  secrets,
  acceptUnsigned,
  logger,
  metrics,
  ackWaitMs,
  maxInHand,
}: NatsSubscriptionOptions): NatsSubscription {
  const inHand = new Set<Promise<void>>();
  const lastOf = new Map<string, Promise<void>>();
  const warnOfRejected = createRepeatedWarning(logger, 'event without a valid signature rejected');

  /**
   * Returns whether the sender knows a secret. A message that is not signed well now will not be later, so it does not come again, and
   * nothing of it is stored: forged messages must not fill the database.
   */
  function admit(message: JsMsg): boolean {
    const { subject, data, headers, seq } = message;
    const signature = headers?.get(signatureHeader) || undefined;
    if (signature === undefined && acceptUnsigned) {
      metrics.acceptedUnsigned();
      return true;
    }
    if (isMessageSigned(signature, subject, data, secrets)) return true;
    const reason = signature === undefined ? 'unsigned' : 'invalid';
    metrics.rejected('nats', reason);
    // The subject is the sender's text; the number finds the message in the stream.
    warnOfRejected({ transport: 'nats', reason, stream_sequence: seq });
    message.term();
    return false;
  }

  function take(message: JsMsg): void {
    if (!admit(message)) return;
    const text = message.string();
    const subject = subjectIn(text);
    const handled = (lastOf.get(subject) ?? Promise.resolve()).then(() => handle(message, text));
    inHand.add(handled);
    lastOf.set(subject, handled);
    void handled.then(() => {
      inHand.delete(handled);
      if (lastOf.get(subject) === handled) lastOf.delete(subject);
    });
  }

  async function handle(message: JsMsg, text: string): Promise<void> {
    const stillAtIt = setInterval(() => message.working(), ackWaitMs / 3);
    try {
      const { outcome, retryInMs } = await receiver.receive(text);
      if (retryInMs > 0) message.nak(retryInMs);
      else if (outcome === 'dead-lettered') message.term();
      else message.ack();
    } catch (error) {
      await answerFault(message, text, error);
    } finally {
      clearInterval(stillAtIt);
    }
  }

  async function answerFault(message: JsMsg, text: string, error: unknown): Promise<void> {
    try {
      if (!(error instanceof MalformedEventError)) throw error;
      // Its sender has had its acknowledgement, so nobody else can keep it.
      await receiver.bury(text, error.message);
      message.term();
    } catch (fault) {
      logger.error({ err: fault }, 'an event could not be received');
      message.nak(faultPauseMs);
    }
  }

  return {
    async drain(messages) {
      for await (const message of messages) {
        take(message);
        if (inHand.size >= maxInHand) await Promise.race(inHand);
      }
    },
    async settled() {
      await Promise.all(inHand);
    },
  };
}

/** Subject of an event that was not read yet; what is no event has none. */
function subjectIn(text: string): string {
  try {
    return String((JSON.parse(text) as { subject?: unknown }).subject);
  } catch {
    return '';
  }
}
