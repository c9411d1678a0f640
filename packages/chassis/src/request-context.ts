import { AsyncLocalStorage } from 'node:async_hooks';
import type { AuditDetails } from './audit/audit-details.ts';
import type { Deadline } from './deadline.ts';
import type { Span } from './tracing/span.ts';
import { spanIdOf, traceIdOf } from './tracing/traceparent.ts';

/** The client on whose behalf a call is made. */
export interface CallClient {
  /** Unique id among all clients. */
  readonly id: string;
  /** Whether the client sent no token although authentication is on. It is then identified by its address only. */
  readonly anonymous: boolean;
}

/** State of the current request. It is available in all code that runs for the request. */
export interface RequestContext {
  /** Correlation id that every service logs for this request. */
  readonly correlationId: string;
  /** Time by which the response must be sent. */
  readonly deadline: Deadline;
  /** `traceparent` that logs and calls refer to: the trace and the current span (W3C Trace Context). */
  readonly traceparent?: string | undefined;
  /** `tracestate` of the caller; undefined if its trace is not continued. */
  readonly tracestate?: string | undefined;
  /** `baggage` of the caller, within its limits (W3C Baggage). */
  readonly baggage?: string | undefined;
  /** The current span; undefined unless it is recorded. */
  readonly span?: Span | undefined;
  /** `Authorization` header of the request, which calls to other services forward. */
  readonly authorization?: string | undefined;
  /** Subject of the access token, for the log; set once the token is verified. */
  subject?: string | undefined;
  /** Client that bulkheads count the request for; set once the client is identified. */
  client?: CallClient | undefined;
  /** Details for the audit log; undefined for a request that cannot change state. */
  audit?: AuditDetails | undefined;
}

/** Only short ids of safe characters are accepted, because they appear in logs, headers and responses. */
export const correlationIdPattern = /^[A-Za-z0-9._-]{1,64}$/;

const storage = new AsyncLocalStorage<RequestContext | undefined>();

/** Runs `work`, and everything it starts, in this context. With `undefined` it runs outside of any request. */
export function runInContext<T>(context: RequestContext | undefined, work: () => T): T {
  return storage.run(context, work);
}

/** Returns the context of the current request; undefined outside of a request. */
export function currentContext(): RequestContext | undefined {
  return storage.getStore();
}

/** The ids of a request. */
export type IdentifiedRequest = Pick<RequestContext, 'correlationId' | 'traceparent'>;

/** Fields that identify a request in log lines. */
export interface RequestLogFields {
  readonly correlation_id: string;
  readonly trace_id: string | undefined;
  readonly span_id: string | undefined;
}

/** Returns the log fields of a context. */
export function requestLogFields({ correlationId, traceparent }: IdentifiedRequest): RequestLogFields {
  return {
    correlation_id: correlationId,
    trace_id: traceparent && traceIdOf(traceparent),
    span_id: traceparent && spanIdOf(traceparent),
  };
}
