import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { isMessageSigned, signatureHeader } from '@zerda/chassis/auth/signature';
import type { Logger } from '@zerda/chassis/logging/logger';
import { createRepeatedWarning } from '@zerda/chassis/logging/repeated-warning';
import type { EventMetrics } from './event-metrics.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** Redelivery delay after an internal error of the receiver, in milliseconds. */
const faultRetryMs = 1000;

export interface NatsSubscriptionOptions {
  readonly receiver: EventReceiver;
  /** Accepted secrets; a sender signs with one of them. */
  readonly secrets: readonly string[];
  /** Accepts messages without a signature. */
  readonly acceptUnsigned: boolean;
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected' | 'acceptedUnsigned'>;
  /** Redelivery delay of unacknowledged events, in milliseconds. */
  readonly ackWaitMs: number;
  /** Maximum number of events that are processed concurrently. */
  readonly maxInFlight: number;
}

/** Processes the messages of a consumer. */
export interface NatsSubscription {
  /** Processes messages until the iterator ends. Drops messages without a valid signature. */
  drain(messages: ConsumerMessages): Promise<void>;
  /** Resolves when no message is in flight. */
  settled(): Promise<void>;
}

/**
 * Creates a subscription. It processes events of one subject in order and other events concurrently, and acknowledges
 * each event after processing.
 */
export function createNatsSubscription({
  receiver,
  secrets,
  acceptUnsigned,
  logger,
  metrics,
  ackWaitMs,
  maxInFlight,
}: NatsSubscriptionOptions): NatsSubscription {
  const inFlight = new Set<Promise<void>>();
  const lastBySubject = new Map<string, Promise<void>>();
  const warnOfRejected = createRepeatedWarning(logger, 'event without a valid signature rejected');

  /**
   * Returns whether the message has a valid signature. Other messages are terminated, because a redelivery cannot
   * succeed, and nothing of them is stored: forged messages must not fill the database.
   */
  function verifySignature(message: JsMsg): boolean {
    const { subject, data, headers, seq } = message;
    const signature = headers?.get(signatureHeader) || undefined;
    if (signature === undefined && acceptUnsigned) {
      metrics.acceptedUnsigned();
      return true;
    }
    if (isMessageSigned(signature, subject, data, secrets)) return true;
    const reason = signature === undefined ? 'unsigned' : 'invalid';
    metrics.rejected('nats', reason);
    // The subject is untrusted text; the sequence number identifies the message in the stream.
    warnOfRejected({ transport: 'nats', reason, stream_sequence: seq });
    message.term();
    return false;
  }

  function enqueue(message: JsMsg): void {
    if (!verifySignature(message)) return;
    const text = message.string();
    const subject = readSubject(text);
    const handled = (lastBySubject.get(subject) ?? Promise.resolve()).then(() => handle(message, text));
    inFlight.add(handled);
    lastBySubject.set(subject, handled);
    void handled.then(() => {
      inFlight.delete(handled);
      if (lastBySubject.get(subject) === handled) lastBySubject.delete(subject);
    });
  }

  async function handle(message: JsMsg, text: string): Promise<void> {
    const progressTimer = setInterval(() => message.working(), ackWaitMs / 3);
    try {
      const { outcome, retryInMs } = await receiver.receive(text, {
        system: 'nats',
        count: message.info.deliveryCount,
        traceparent: message.headers?.get('traceparent') || undefined,
      });
      if (retryInMs > 0) message.nak(retryInMs);
      else if (outcome === 'dead-lettered') message.term();
      else message.ack();
    } catch (error) {
      await handleFault(message, text, error);
    } finally {
      clearInterval(progressTimer);
    }
  }

  async function handleFault(message: JsMsg, text: string, error: unknown): Promise<void> {
    try {
      if (!(error instanceof MalformedEventError)) throw error;
      // The sender already has its acknowledgment, so the dead letter is the only copy.
      await receiver.deadLetter(text, error.message);
      message.term();
    } catch (fault) {
      logger.error({ err: fault }, 'event processing failed');
      message.nak(faultRetryMs);
    }
  }

  return {
    async drain(messages) {
      for await (const message of messages) {
        enqueue(message);
        if (inFlight.size >= maxInFlight) await Promise.race(inFlight);
      }
    },
    async settled() {
      await Promise.all(inFlight);
    },
  };
}

/** Returns the subject of an unparsed event; an empty string if the text is not JSON. */
function readSubject(text: string): string {
  try {
    return String((JSON.parse(text) as { subject?: unknown }).subject);
  } catch {
    return '';
  }
}
