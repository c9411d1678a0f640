import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '@zerda/chassis/auth/caller';
import type { Failure } from '@zerda/chassis/failure';
import { currentContext, type RequestContext } from '@zerda/chassis/request-context';
import type { LoadEntry } from '../load-monitor.ts';

/** A request on its way through the policies of its route. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly context: RequestContext;
  /** Who asks, once that is known; undefined for somebody who does not say. */
  caller: Caller | undefined;
  /** Why the caller is not believed: kept until the request has been counted, then thrown. */
  refusal: Failure | undefined;
  /** Headers that the answer gets beside its own, whatever it is: name, value, name, value. */
  readonly answerHeaders: string[];
  /**
   * Headers that the upstream gets when it has that many milliseconds: name, value, name, value. Undefined when it gets those of the
   * request.
   */
  requestHeaders: ((ms: number) => string[]) | undefined;
  /** How the request counts among those in flight; undefined where its route is never shed. */
  load: VisitLoad | undefined;
  /** Told right before the head of an answer leaves that came from an upstream. */
  onAnswer: (() => void) | undefined;
}

/** How a request counts among those in flight. */
export interface VisitLoad extends Pick<LoadEntry, 'pause' | 'resume'> {
  /** @throws Failure `overloaded` while there is too much to do */
  requireCapacity(): void;
}

/** A request that no policy has seen yet. */
export function createVisit(
  request: Visit['request'],
  response: Visit['response'],
  context: RequestContext,
): Visit {
  return {
    ...{ request, response, context },
    ...{ caller: undefined, refusal: undefined, answerHeaders: [] },
    ...{ requestHeaders: undefined, load: undefined, onAnswer: undefined },
  };
}

/** The visit of the request in progress, for a handler of Express. @throws Error outside of a request */
export function currentVisit(request: Visit['request'], response: Visit['response']): Visit {
  const context = currentContext();
  if (context === undefined) throw new Error('a visit is made within a request');
  return createVisit(request, response, context);
}

/** Adds headers to an answer, beside others of the same name. */
export function addHeaders(response: ServerResponse, headers: readonly string[]): void {
  if (response.headersSent) return;
  for (let index = 0; index < headers.length; index += 2) {
    response.appendHeader(headers[index] ?? '', headers[index + 1] ?? '');
  }
}
