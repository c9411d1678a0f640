import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '@zerda/chassis/auth/caller';
import type { Failure } from '@zerda/chassis/failure';
import { currentContext, type RequestContext } from '@zerda/chassis/request-context';
import type { AttemptHeaders } from '@zerda/upstream/attempt';
import type { LoadEntry } from '../overload/load-monitor.ts';

/** The state of a request that its policies share. */
export interface PolicyContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly context: RequestContext;
  /** The authenticated caller; undefined for an anonymous one and before authentication. */
  caller: Caller | undefined;
  /** Why authentication failed. Thrown by `authorize`, after the request is counted. */
  authenticationFailure: Failure | undefined;
  /** Headers that are added to every response: name, value, name, value. */
  readonly responseHeaders: string[];
  /** Returns the request headers of an attempt: name, value, name, value. Undefined to forward those of the client. */
  requestHeaders: ((attempt: AttemptHeaders) => string[]) | undefined;
  /** Load accounting of the request; undefined if its route is never shed. */
  load: RequestLoad | undefined;
  /** Called immediately before the head of an upstream's response is sent. */
  onResponse: (() => void) | undefined;
}

/** Load accounting of one request. */
export interface RequestLoad extends Pick<LoadEntry, 'pause' | 'resume'> {
  /** @throws Failure `overloaded` while the gateway is overloaded */
  requireCapacity(): void;
}

/** Creates the context of a new request. */
export function createPolicyContext(
  request: PolicyContext['request'],
  response: PolicyContext['response'],
  context: RequestContext,
): PolicyContext {
  return {
    request,
    response,
    context,
    caller: undefined,
    authenticationFailure: undefined,
    responseHeaders: [],
    requestHeaders: undefined,
    load: undefined,
    onResponse: undefined,
  };
}

/** Creates the policy context of the current request, for an Express handler. @throws Error outside a request */
export function currentPolicyContext(
  request: PolicyContext['request'],
  response: PolicyContext['response'],
): PolicyContext {
  const context = currentContext();
  if (context === undefined) throw new Error('a policy context requires a current request');
  return createPolicyContext(request, response, context);
}

/** Adds headers to a response and keeps existing ones of the same name. Does nothing once the headers are sent. */
export function addHeaders(response: ServerResponse, headers: readonly string[]): void {
  if (response.headersSent) return;
  for (let index = 0; index < headers.length; index += 2) {
    response.appendHeader(headers[index] ?? '', headers[index + 1] ?? '');
  }
}
