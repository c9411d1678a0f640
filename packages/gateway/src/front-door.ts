import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import type { AnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { logFailure, writeProblem } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { CallerGoneError } from '@zerda/chassis/http-client/call-outcome';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { RequestContext } from '@zerda/chassis/request-context';
import { forward } from './forward.ts';
import type { ForwardedHeaders } from './forwarded-headers.ts';
import { endWhileReceiving } from './linger.ts';
import { createAnswerGuards } from './passed-headers.ts';
import type { Match, MatchedPath } from './routes/match.ts';
import { toFailure } from './upstream-failure.ts';

export interface FrontDoorDependencies {
  readonly match: Match;
  readonly answerHeaders: AnswerHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly logger: Logger;
}

/** Forwards the request when its path is in the table of routes; false when it is somebody else's to answer. */
export type FrontDoor = (
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
) => boolean;

export function createFrontDoor({
  match,
  answerHeaders,
  forwardedHeaders,
  logger,
}: FrontDoorDependencies): FrontDoor {
  const guards = createAnswerGuards();

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    { routes, allow }: MatchedPath,
  ): Promise<void> {
    try {
      const route = routes.get(request.method ?? '');
      if (route === undefined) throw new Failure('method-not-allowed', { headers: { Allow: allow } });
      await forward({ context, request, response, route, guards, forwardedHeaders, logger });
    } catch (error) {
      if (error instanceof CallerGoneError) return;
      const failure = toFailure(error);
      logFailure(logger, failure, context);
      answerHeaders.setOn(response, context);
      refuse(request, response, context, failure);
    }
  }

  return (request, response, context) => {
    const { url = '' } = request;
    const matched = match(url.split('?', 1)[0] ?? '');
    if (matched === undefined) return false;
    setRoute(response, matched.path);
    void answer(request, response, context, matched);
    return true;
  };
}

/** A client that sends too much, or does not get on with it, is not waited for: the connection closes with the answer. */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
  failure: Failure,
): void {
  const givesUp = failure.code === 'payload-too-large' || failure.code === 'request-timeout';
  if (givesUp && !request.complete) response.shouldKeepAlive = false;
  if (writeProblem(request, response, failure, context)) endWhileReceiving(request, response);
}
