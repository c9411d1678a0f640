import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { RequestHandler } from 'express';
import { Deadline } from '../deadline.ts';
import type { Logger } from '../logging/logger.ts';
import { roundMs } from '../logging/round-ms.ts';
import { knownMethod, otherMethod } from '../metrics/known-method.ts';
import type { Metrics } from '../metrics/metrics.ts';
import {
  correlationIdPattern,
  type RequestContext,
  requestLogFields,
  runInContext,
} from '../request-context.ts';
import type { Span, Tracer } from '../tracing/span.ts';
import {
  boundedBaggage,
  boundedTracestate,
  unrecordedTraceparent,
  validTraceparent,
} from '../tracing/traceparent.ts';
import { truncateAddress } from './addresses.ts';
import type { ClientAddress } from './client-address.ts';
import { closeWithConnection } from './queued-responses.ts';

export interface RequestObserverOptions {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Request timeout in milliseconds; the caller can shorten it. */
  readonly requestTimeoutMs: number;
  /** Returns the client address for the request log; undefined omits it. Omitted by default. */
  readonly clientInLog?: ((request: IncomingMessage) => string | undefined) | undefined;
  /** Whether the request log includes the subject of the caller; true by default. */
  readonly subjectInLog?: boolean | undefined;
  /** Records a span of each sampled request; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /**
   * Whether requests continue the trace of the caller with its sampling decision; true by default. Otherwise each request starts a trace,
   * with a link to that of the caller.
   */
  readonly trustsTraces?: boolean | undefined;
  /** Returns whether the client uses HTTPS, for spans; never by default. */
  readonly isSecure?: ((request: IncomingMessage) => boolean) | undefined;
}

/** Returns the function that formats client addresses for the request log, by LOG_CLIENT_ADDRESS; undefined for `off`. */
export function createClientInLog(
  form: 'full' | 'truncated' | 'off',
  clientAddress: ClientAddress,
): RequestObserverOptions['clientInLog'] {
  if (form === 'off') return undefined;
  if (form === 'full') return clientAddress;
  const networks = new Map<string, string>();
  return (request) => {
    const address = clientAddress(request);
    const cached = networks.get(address);
    if (cached !== undefined) return cached;
    const network = truncateAddress(address);
    if (networks.size >= maxCachedNetworks) networks.clear();
    networks.set(address, network);
    return network;
  };
}

/** Maximum number of cached networks. Formatting an IPv6 network takes 5 µs, a tenth of the cost of a forwarded request. */
const maxCachedNetworks = 1000;

/** Observes requests from their head to the end of the response. */
export interface RequestObserver {
  /**
   * Starts to observe a request and returns its context. The caller passes the context on explicitly: the fast path of the gateway avoids
   * the cost of `runInContext`.
   */
  begin(request: IncomingMessage, response: ServerResponse): RequestContext;
  /** Express middleware that must come first: everything after it runs in the context of the request. */
  readonly middleware: RequestHandler;
}

/** Status in log and metrics if the client disconnected before the response ended, as in nginx. */
const clientClosedRequest = 499;

const route = Symbol('route');
const failure = Symbol('failure');

/** A response with its route and abort status. Symbol members cost the garbage collector less than a `WeakMap`. */
type ObservedResponse = ServerResponse & { [route]?: string; [failure]?: number };

/**
 * Sets the status that log and metrics record for a response which the server aborts after its head was sent. Otherwise the response
 * would count as closed by the client (499).
 */
export function setAbortStatus(response: ObservedResponse, status: number): void {
  response[failure] = status;
}

/** Sets the route pattern of a response for log and metrics. Paths are not used, because their number is unbounded. */
export function setRoute(response: ObservedResponse, pattern: string): void {
  response[route] = pattern;
}

/** Creates an observer that assigns each request a correlation id and a deadline, and logs and counts it when it ends. */
export function createRequestObserver({
  logger,
  metrics,
  requestTimeoutMs,
  clientInLog,
  subjectInLog = true,
  tracer,
  trustsTraces = true,
  isSecure = () => false,
}: RequestObserverOptions): RequestObserver {
  // The fields of these lines are fixed below and need no redaction.
  const requestLogger = logger.child({}, { redact: [] });
  function begin(request: IncomingMessage, response: ObservedResponse): RequestContext {
    const startedAt = performance.now();
    const writtenBefore = request.socket.bytesWritten;
    // Read now: a closed connection has no address.
    const client = clientInLog?.(request);
    metrics.requestStarted();
    const caller = validTraceparent(request.headers.traceparent);
    const parent = trustsTraces ? caller : undefined;
    const span = tracer?.start('request', {
      name: knownMethod(request.method) ?? 'HTTP',
      parent,
      ...(caller !== undefined && parent === undefined && { links: [caller] }),
    });
    const context: RequestContext = {
      correlationId: correlationIdOf(request),
      deadline: Deadline.after(timeoutOf(request, requestTimeoutMs)),
      traceparent: span?.traceparent ?? unrecordedTraceparent(parent, tracer !== undefined),
      tracestate: parent && boundedTracestate(request.headers.tracestate),
      baggage: boundedBaggage(request.headers.baggage),
      span,
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
      metrics.requestEnded({ method, route: pattern, status }, ms / 1000, span);
      // Written out: the logger takes four times as long for an object that contains a spread.
      const { correlation_id, trace_id, span_id } = requestLogFields(context);
      const line = {
        correlation_id,
        trace_id,
        span_id,
        method,
        route: pattern,
        status,
        duration_ms: roundMs(ms),
        bytes: request.socket.bytesWritten - writtenBefore,
        client_address: client,
        subject: subjectInLog ? context.subject : undefined,
      };
      if (span !== undefined) {
        span.set({ 'url.scheme': isSecure(request) ? 'https' : 'http', 'client.address': client });
        endSpan(span, request, { route: response[route], status, correlationId: context.correlationId });
      }
      if (status >= 500) requestLogger.warn(line, 'request');
      else requestLogger.info(line, 'request');
    });
    return context;
  }

  return {
    begin,
    middleware: (request, response, next) => runInContext(begin(request, response), next),
  };
}

function correlationIdOf(request: IncomingMessage): string {
  const header = request.headers[headerNames.correlationId];
  return typeof header === 'string' && correlationIdPattern.test(header) ? header : randomUUID();
}

/** Names a span by the route, sets the attributes of the semantic conventions for HTTP and ends the span. */
function endSpan(
  span: Span,
  request: IncomingMessage,
  {
    route: pattern,
    status,
    correlationId,
  }: { readonly route: string | undefined; readonly status: number; readonly correlationId: string },
): void {
  const method = knownMethod(request.method);
  if (pattern !== undefined) {
    span.setName(`${method ?? 'HTTP'} ${pattern}`);
    span.set({ 'http.route': pattern, 'url.path': pathOf(request) });
  }
  span.set({
    'http.request.method': method ?? otherMethod,
    'http.response.status_code': status,
    'network.protocol.version': request.httpVersion,
    'zerda.correlation_id': correlationId,
  });
  if (status >= 500) span.fail(String(status));
  span.end();
}

function pathOf(request: IncomingMessage): string {
  const url = (request as { originalUrl?: string }).originalUrl ?? request.url ?? '';
  return url.split('?', 1)[0] ?? '';
}

/** Returns the timeout that the caller requests, limited to `maxMs`. Values that are not a whole number are ignored. */
function timeoutOf(request: IncomingMessage, maxMs: number): number {
  const header = request.headers[headerNames.requestTimeout];
  return typeof header === 'string' && /^\d{1,9}$/.test(header) ? Math.min(Number(header), maxMs) : maxMs;
}
