import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { traceparent } from '@zerda/contracts/events/envelope';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { RequestHandler } from 'express';
import { Deadline } from '../deadline.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { type RequestContext, runInContext } from '../request-context.ts';
import { truncateAddress } from './addresses.ts';
import type { ClientAddress } from './client-address.ts';
import { closeWithConnection } from './queued-answers.ts';

export interface RequestObserverOptions {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take; the caller can ask for less. */
  readonly requestTimeoutMs: number;
  /** Returns how the line of a request names its client; undefined leaves it out, as it does by default. */
  readonly clientInLog?: ((request: IncomingMessage) => string | undefined) | undefined;
  /** Whether the line names the subject of the caller; true by default. */
  readonly subjectInLog?: boolean | undefined;
}

/** Returns how lines of the log name the clients of requests, as LOG_CLIENT_ADDRESS has it; undefined for not at all. */
export function createClientInLog(
  form: 'full' | 'truncated' | 'off',
  clientAddress: ClientAddress,
): RequestObserverOptions['clientInLog'] {
  if (form === 'off') return undefined;
  if (form === 'full') return clientAddress;
  const networks = new Map<string, string>();
  return (request) => {
    const address = clientAddress(request);
    const known = networks.get(address);
    if (known !== undefined) return known;
    const network = truncateAddress(address);
    if (networks.size >= mostNetworks) networks.clear();
    networks.set(address, network);
    return network;
  };
}

/** Addresses whose network is remembered: to write the one of an IPv6 address takes 5 microseconds, a tenth of a forwarded request. */
const mostNetworks = 1000;

/** Watches requests from their head to the end of their answer. */
export interface RequestObserver {
  /**
   * Begins to watch a request. What it returns belongs to the request from here on, and is handed on where that
   * matters: `runInContext` would make it known everywhere, at a cost that the fastest way through a gateway does without.
   */
  begin(request: IncomingMessage, response: ServerResponse): RequestContext;
  /** The first layer of an Express application: the context is in hand in all that follows. */
  readonly middleware: RequestHandler;
}

/** What a request whose caller went away before the answer was out is counted as, after nginx. */
const clientClosedRequest = 499;

const route = Symbol('route');
const failure = Symbol('failure');

/** An answer that knows its route: itself, since every entry of a `WeakMap` is work for the garbage collector. */
type Routed = ServerResponse & { [route]?: string; [failure]?: number };

/**
 * Notes that a response whose head has left is cut off on this side, and the status that the log and the metrics have for it: without
 * this it would count as one that its client did not wait for.
 */
export function setCutOff(response: Routed, status: number): void {
  response[failure] = status;
}

/** Names the pattern of the route that answers, for metrics and the log; paths themselves are without number. */
export function setRoute(response: Routed, pattern: string): void {
  response[route] = pattern;
}

/** Gives a request its correlation id and deadline, and at its end counts it and writes its one line of the log. */
export function createRequestObserver({
  logger,
  metrics,
  requestTimeoutMs,
  clientInLog,
  subjectInLog = true,
}: RequestObserverOptions): RequestObserver {
  // All there is on these lines is named below: there is nothing in them to be redacted.
  const lines = logger.child({}, { redact: [] });
  function begin(request: IncomingMessage, response: Routed): RequestContext {
    const startedAt = performance.now();
    const writtenBefore = request.socket.bytesWritten;
    // Now, since a connection that has ended does not tell its address.
    const client = clientInLog?.(request);
    metrics.requestStarted();
    const trace = traceparentOf(request);
    const context: RequestContext = {
      correlationId: correlationIdOf(request),
      deadline: Deadline.after(timeoutOf(request, requestTimeoutMs)),
      traceparent: trace,
      tracestate: trace === undefined ? undefined : shortHeader(request.headers.tracestate, 2048),
      // 8192 bytes is what every platform must pass on (W3C Baggage, section 3.3.2).
      baggage: shortHeader(request.headers.baggage, 8192),
      authorization: request.headers.authorization,
    };
    closeWithConnection(request, response);
    response.on('close', () => {
      const method = request.method ?? '';
      const pattern = response[route] ?? 'unmatched';
      const status = response.writableFinished
        ? response.statusCode
        : (response[failure] ?? clientClosedRequest);
      const ms = performance.now() - startedAt;
      metrics.requestEnded({ method, route: pattern, status }, ms / 1000);
      const line = {
        correlation_id: context.correlationId,
        method,
        route: pattern,
        status,
        duration_ms: Math.round(ms * 10) / 10,
        bytes: request.socket.bytesWritten - writtenBefore,
        client_address: client,
        subject: subjectInLog ? context.subject : undefined,
      };
      if (status >= 500) lines.warn(line, 'request');
      else lines.info(line, 'request');
    });
    return context;
  }

  return {
    begin,
    middleware: (request, response, next) => runInContext(begin(request, response), next),
  };
}

/** Adopted only when short and plain: it goes into logs, headers and answers. */
const plainId = /^[A-Za-z0-9._-]{1,64}$/;

function correlationIdOf(request: IncomingMessage): string {
  const given = request.headers[headerNames.correlationId];
  return typeof given === 'string' && plainId.test(given) ? given : randomUUID();
}

function traceparentOf(request: IncomingMessage): string | undefined {
  const given = request.headers.traceparent;
  return typeof given === 'string' && traceparent.test(given) ? given : undefined;
}

/** A header of one text that is not longer than that. */
function shortHeader(value: string | string[] | undefined, maxLength: number): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= maxLength ? value : undefined;
}

/** The caller can shorten the time, never lengthen it; what is not a whole number of milliseconds says nothing. */
function timeoutOf(request: IncomingMessage, longest: number): number {
  const given = request.headers[headerNames.requestTimeout];
  return typeof given === 'string' && /^\d{1,9}$/.test(given) ? Math.min(Number(given), longest) : longest;
}
