import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { eventMediaType } from '@zerda/contracts/events/envelope';
import type { Logger } from '../logging/logger.ts';
import { createRepeatedWarning } from '../logging/repeated-warning.ts';
import type { EventMetrics } from '../metrics/event-metrics.ts';
import { isSigned, signatureHeader } from './signature.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** Where the events of others come in by HTTP. */
export interface EventSink {
  /** Answers `POST` with one CloudEvent in structured mode. */
  readonly listener: RequestListener;
  /** Takes events from now on; until then each is answered with 503. */
  open(receiver: EventReceiver): void;
  /** Takes no more, and waits for those in hand. */
  close(): Promise<void>;
}

export interface EventSinkOptions {
  /** Secrets of which a sender must know one. */
  readonly secrets: readonly string[];
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected'>;
}

/** Bytes of an event at most. */
const longest = 256 * 1024;

/**
 * 2xx means that the event was dealt with, 500 that it must come again, 503 that nothing can be taken at present, and 4xx that
 * what came is no event, or not from one of us.
 */
export function createEventSink({ secrets, logger, metrics }: EventSinkOptions): EventSink {
  const warnOfRejected = createRepeatedWarning(logger, 'event without a valid signature rejected');
  let receiver: EventReceiver | undefined;
  const inHand = new Set<Promise<number>>();

  async function take(request: IncomingMessage): Promise<number> {
    if (request.method !== 'POST') return 405;
    if (request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() !== eventMediaType)
      return 415;
    const text = await read(request);
    if (text === undefined) return 413;
    const signature = request.headers[signatureHeader]?.toString();
    if (!isSigned(signature, text, secrets)) {
      const reason = signature ? 'invalid' : 'unsigned';
      metrics.rejected('http', reason);
      warnOfRejected({ transport: 'http', reason });
      return 401;
    }
    if (receiver === undefined) return 503;
    try {
      const { outcome } = await receiver.receive(text);
      if (outcome === 'unavailable') return 503;
      return outcome === 'failed' ? 500 : 204;
    } catch (error) {
      if (error instanceof MalformedEventError) return 400;
      logger.error({ err: error }, 'an event could not be received');
      return 500;
    }
  }

  return {
    listener(request, response) {
      const taken = take(request).catch(() => 400);
      inHand.add(taken);
      void taken.then((status) => {
        inHand.delete(taken);
        answer(response, status);
      });
    },
    open(opened) {
      receiver = opened;
    },
    async close() {
      receiver = undefined;
      await Promise.all(inHand);
    },
  };
}

/** The body as text; undefined when it is too long, and then the rest is not read. */
async function read(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longest) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function answer(response: ServerResponse, status: number): void {
  response.statusCode = status;
  response.setHeader('Cache-Control', 'no-store');
  if (status === 405) response.setHeader('Allow', 'POST');
  if (status === 503) response.setHeader('Retry-After', '1');
  // Of a body that was not read to its end nothing more should come.
  if (status === 413) response.setHeader('Connection', 'close');
  response.end();
}
