import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import type { Logger } from '../logging/logger.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** Milliseconds after which an event comes again whose receiver had a fault of its own. */
const faultPauseMs = 1000;

export interface NatsSubscriptionOptions {
  readonly receiver: EventReceiver;
  readonly logger: Logger;
  /** Milliseconds after which an event comes again unless it is heard of. */
  readonly ackWaitMs: number;
  /** Events in hand at the same time. */
  readonly maxInHand: number;
}

/** Deals with the messages of a consumer. */
export interface NatsSubscription {
  /** Takes messages until there are no more. */
  drain(messages: ConsumerMessages): Promise<void>;
  /** Resolves when nothing is in hand. */
  settled(): Promise<void>;
}

/** Events of one subject one after the other, all others side by side; each is answered when its receipt is there. */
export function createNatsSubscription({
  receiver,
  logger,
  ackWaitMs,
  maxInHand,
}: NatsSubscriptionOptions): NatsSubscription {
  const inHand = new Set<Promise<void>>();
  const lastOf = new Map<string, Promise<void>>();

  function take(message: JsMsg): void {
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
