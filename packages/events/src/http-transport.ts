import { sign, signatureHeader } from '@zerda/chassis/auth/signature';
import { eventMediaType } from '@zerda/contracts/events/envelope';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { Pool } from 'undici';
import type { EventSink } from './event-sink.ts';
import { type EventTransport, type OutgoingEvent, SendError, type SendFailure } from './transport.ts';

export interface HttpTransportOptions {
  /** URLs to which every event is posted. If there are none, `send` resolves at once. */
  readonly sinks: readonly string[];
  /** Secrets that sign the events. */
  readonly secrets: readonly string[];
  /** Receives events over HTTP; undefined for a service without subscriptions. */
  readonly sink?: EventSink | undefined;
  /** Response timeout of a sink in milliseconds; 10,000 by default. */
  readonly timeoutMs?: number;
  /** Maximum number of connections per sink; 32 by default. */
  readonly connections?: number;
}

/**
 * Statuses below 500 that do not depend on the event: the sink is not ready, uses another secret, or limits its rate.
 * With any other status below 500 a retry cannot succeed.
 */
const retryableStatuses = new Set([401, 403, 404, 407, 408, 421, 425, 429]);
/** Statuses that any other event would get as well. */
const unavailableStatuses = new Set([...retryableStatuses, 502, 503, 504]);

/** Which failure counts if several sinks failed. A sink may still need an event that another sink rejected. */
const precedence: readonly SendFailure[] = ['unavailable', 'failed', 'rejected'];

/** Creates a transport that posts each event as a CloudEvent in structured mode, over keep-alive connections. */
export function createHttpTransport({
  sinks,
  secrets,
  sink,
  timeoutMs = 10_000,
  connections = 32,
}: HttpTransportOptions): EventTransport {
  const targets = sinks.map((url) => {
    const { origin, pathname, search } = new URL(url);
    const pool = new Pool(origin, {
      connections,
      pipelining: 1,
      connect: { timeout: Math.min(timeoutMs, 2000) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    return { url, pool, path: pathname + search };
  });

  async function post({ url, pool, path }: (typeof targets)[number], event: OutgoingEvent): Promise<void> {
    const headers = {
      'content-type': `${eventMediaType}; charset=utf-8`,
      [signatureHeader]: sign(event.text, secrets),
      [headerNames.eventDelivery]: String(event.attempts ?? 1),
      ...(event.traceparent !== undefined && { traceparent: event.traceparent }),
    };
    let status: number;
    try {
      const { statusCode, body } = await pool.request({ method: 'POST', path, headers, body: event.text });
      status = statusCode;
      await body.dump();
    } catch (error) {
      throw new SendError('unavailable', `${url}: ${(error as Error).message}`, { cause: error });
    }
    if (status >= 200 && status < 300) return;
    throw new SendError(kindOf(status), `${url} returned ${status}`);
  }

  return {
    async send(event) {
      const results = await Promise.allSettled(targets.map((target) => post(target, event)));
      const errors = results.flatMap((result) =>
        result.status === 'rejected' ? [result.reason as SendError] : [],
      );
      errors.sort((a, b) => precedence.indexOf(a.kind) - precedence.indexOf(b.kind));
      if (errors[0] !== undefined) throw errors[0];
    },
    subscribe(receiver) {
      sink?.open(receiver);
    },
    async close() {
      await sink?.close();
      // Callers have given up the requests that are still in flight.
      await Promise.all(targets.map(({ pool }) => pool.destroy()));
    },
  };
}

function kindOf(status: number): SendFailure {
  if (unavailableStatuses.has(status)) return 'unavailable';
  return status >= 400 && status < 500 ? 'rejected' : 'failed';
}
