import { AsyncLocalStorage } from 'node:async_hooks';
import type { Deadline } from './deadline.ts';
import type { CallClient } from './http-client/bulkhead.ts';

/** What belongs to the request in hand, wherever the code is. */
export interface RequestContext {
  /** Id under which every service logs this request. */
  readonly correlationId: string;
  /** Until when the caller waits. */
  readonly deadline: Deadline;
  /** Trace that it belongs to (W3C Trace Context), as the caller or the event has it. */
  readonly traceparent?: string | undefined;
  /** What tracing systems add to that trace; undefined without a valid `traceparent`. */
  readonly tracestate?: string | undefined;
  /** Names and values that travel with the request (W3C Baggage), as the caller has them. */
  readonly baggage?: string | undefined;
  /** `Authorization` of the request, for calls to other services that are made in its caller's name. */
  readonly authorization?: string | undefined;
  /** Subject of the caller's token, once the token has been verified: for the line of the log. */
  subject?: string | undefined;
  /** The client once it is known, for what is shared fairly between clients. */
  client?: CallClient | undefined;
}

const storage = new AsyncLocalStorage<RequestContext | undefined>();

/** Runs `work`, and all that it starts, in this context; `undefined` steps out of the request in hand. */
export function runInContext<T>(context: RequestContext | undefined, work: () => T): T {
  return storage.run(context, work);
}

/** The context of the request in hand; undefined outside of any. */
export function currentContext(): RequestContext | undefined {
  return storage.getStore();
}
