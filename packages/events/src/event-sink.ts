import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { isSigned, signatureChallenge, signatureHeader } from '@zerda/chassis/auth/signature';
import { Failure } from '@zerda/chassis/failure';
import { sendError, sendProblem } from '@zerda/chassis/http/problem-response';
import type { Logger } from '@zerda/chassis/logging/logger';
import { createRepeatedWarning } from '@zerda/chassis/logging/repeated-warning';
import { eventMediaType } from '@zerda/contracts/events/envelope';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { EventMetrics } from './event-metrics.ts';
import { type DeliveryInfo, type EventReceiver, MalformedEventError, type Outcome } from './transport.ts';

/** Receives events over HTTP. */
export interface EventSink {
  /** Handles `POST` with one CloudEvent in structured mode. */
  readonly listener: RequestListener;
  /** Starts to accept events; until then the response is 503. */
  open(receiver: EventReceiver): void;
  /** Stops accepting events and waits for those in flight. */
  close(): Promise<void>;
}

export interface EventSinkOptions {
  /** Accepted secrets; a sender signs with one of them. */
  readonly secrets: readonly string[];
  readonly logger: Logger;
  readonly metrics: Pick<EventMetrics, 'rejected'>;
}

/** Maximum size of an event, in bytes. */
const maxBytes = 256 * 1024;

/**
 * Creates a sink. It returns 204 if the event was processed, and 500 if processing failed and the sender must retry it.
 * It returns 503 if the service is unavailable, and 4xx if the request is not a signed event.
 */
export function createEventSink({ secrets, logger, metrics }: EventSinkOptions): EventSink {
  const warnOfRejected = createRepeatedWarning(logger, 'event without a valid signature rejected');
  let receiver: EventReceiver | undefined;
  const inFlight = new Set<Promise<void>>();

  async function handleRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') throw new Failure('method-not-allowed', { allowedMethods: ['POST'] });
    if (request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() !== eventMediaType)
      throw new Failure('unsupported-media-type');
    const text = await readBody(request);
    if (text === undefined) {
      // The rest of the body is not read, so the connection cannot be reused.
      response.shouldKeepAlive = false;
      throw new Failure('payload-too-large');
    }
    const signature = request.headers[signatureHeader]?.toString();
    if (!isSigned(signature, text, secrets)) {
      const reason = signature ? 'invalid' : 'unsigned';
      metrics.rejected('http', reason);
      warnOfRejected({ transport: 'http', reason });
      throw new Failure('unauthenticated', { challenge: signatureChallenge });
    }
    const outcome = await processEvent(text, deliveryOf(request));
    if (outcome === 'unavailable') throw new Failure('database-unavailable', { retryAfterSeconds: 1 });
    // The receiver has logged the error of the handler.
    if (outcome === 'failed') return sendProblem(request, response, new Failure('internal-error'));
    response.writeHead(204, { 'Cache-Control': 'no-store' }).end();
  }

  async function processEvent(text: string, delivery: DeliveryInfo): Promise<Outcome> {
    if (receiver === undefined) return 'unavailable';
    try {
      return (await receiver.receive(text, delivery)).outcome;
    } catch (error) {
      if (!(error instanceof MalformedEventError)) throw error;
      throw new Failure('invalid-request', { detail: error.message });
    }
  }

  return {
    listener(request, response) {
      const handled = handleRequest(request, response)
        .catch((error: unknown) => sendError(request, response, error, logger))
        .finally(() => inFlight.delete(handled));
      inFlight.add(handled);
    },
    open(eventReceiver) {
      receiver = eventReceiver;
    },
    async close() {
      receiver = undefined;
      await Promise.all(inFlight);
    },
  };
}

function deliveryOf({ headers }: IncomingMessage): DeliveryInfo {
  const count = headers[headerNames.eventDelivery];
  return {
    system: 'http',
    count: typeof count === 'string' && /^\d{1,9}$/.test(count) ? Number(count) : undefined,
    traceparent: headers.traceparent?.toString(),
  };
}

/**
 * Returns the body as text, or undefined if it is too long; the rest is not read.
 * @throws Failure `invalid-request` if the sender disconnects before the end
 */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) return undefined;
      chunks.push(chunk);
    }
  } catch {
    throw new Failure('invalid-request');
  }
  return Buffer.concat(chunks).toString('utf8');
}
