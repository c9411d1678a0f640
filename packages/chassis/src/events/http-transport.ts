import { eventMediaType } from '@zerda/contracts/events/envelope';
import { Pool } from 'undici';
import type { EventSink } from './event-sink.ts';
import { sign, signatureHeader } from './signature.ts';
import { type EventTransport, type OutgoingEvent, SendError, type SendFailure } from './transport.ts';

export interface HttpTransportOptions {
  /** URLs that every event is posted to; with none, an event is safe at once. */
  readonly sinks: readonly string[];
  /** Secrets to sign with. */
  readonly secrets: readonly string[];
  /** Where the events of others come in; undefined for a service that hears none. */
  readonly sink?: EventSink | undefined;
  /** Milliseconds that a sink has to answer; 10,000 by default. */
  readonly timeoutMs?: number;
  /** Connections to each sink at most; 32 by default. */
  readonly connections?: number;
}

/**
 * Statuses below 500 that say nothing of the event: the sink is not there yet, another secret, too many at once. Everything
 * else below 500 means that the event will be refused the next time too.
 */
const passing = new Set([401, 403, 404, 407, 408, 421, 425, 429]);
/** Statuses that say that any other event would fare the same. */
const away = new Set([...passing, 502, 503, 504]);

/** How grave a failure is when several sinks failed: an event that one has refused may still be wanted by another. */
const precedence: readonly SendFailure[] = ['unavailable', 'failed', 'refused'];

/** Posts events one by one, as CloudEvents in structured mode, over kept-alive connections. */
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
    throw new SendError(kindOf(status), `${url} answered ${status}`);
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
      // Whatever is still under way was given up by its sender.
      await Promise.all(targets.map(({ pool }) => pool.destroy()));
    },
  };
}

function kindOf(status: number): SendFailure {
  if (away.has(status)) return 'unavailable';
  return status >= 400 && status < 500 ? 'refused' : 'failed';
}
