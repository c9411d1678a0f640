import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import type { AnswerHeaders } from '@zerda/chassis/http/answer-headers';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { logFailure, writeProblem } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { CallerGoneError } from '@zerda/chassis/http-client/call-outcome';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { RequestContext } from '@zerda/chassis/request-context';
import { forward } from './forward.ts';
import type { ForwardedHeaders, SecureLookup } from './forwarded-headers.ts';
import { endWhileReceiving } from './linger.ts';
import { transportSecurityOf } from './passed-headers.ts';
import { isPreflight } from './policies/cors.ts';
import type { OwnPolicies } from './policies/own-endpoints.ts';
import { type Policy, runPolicies } from './policies/policy.ts';
import { createVisit, type Visit } from './policies/visit.ts';
import type { Match, MatchedPath } from './routes/match.ts';
import type { SlowClients } from './slow-clients.ts';
import { toFailure } from './upstream-failure.ts';

export interface FrontDoorDependencies {
  readonly match: Match;
  /** Headers of what the gateway answers itself. */
  readonly answerHeaders: AnswerHeaders;
  /** Headers that it puts on what it passes on. */
  readonly guards: AnswerHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  readonly slowClients: SlowClients;
  readonly clientAddress: ClientAddress;
  /** Policies of what no route takes. */
  readonly own: Pick<OwnPolicies, 'preflight' | 'unmatched'>;
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
  guards,
  forwardedHeaders,
  isSecure,
  slowClients,
  clientAddress,
  own,
  logger,
}: FrontDoorDependencies): FrontDoor {
  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    { routes, allow }: MatchedPath,
  ): Promise<void> {
    let visit: Visit | undefined;
    try {
      const route = routes.get(request.method ?? '');
      const preflight = request.method === 'OPTIONS' ? preflightOf(request, routes) : undefined;
      if (preflight !== undefined) {
        visit = createVisit(request, response, context);
        await own.preflight(visit);
        preflight(visit);
        return;
      }
      if (route === undefined) {
        visit = createVisit(request, response, context);
        await own.unmatched(visit);
        throw new Failure('method-not-allowed', { headers: { Allow: allow } });
      }
      if (route.policies.length > 0) {
        visit = createVisit(request, response, context);
        const answered = runPolicies(route.policies, visit);
        if (answered !== false && (await answered)) return;
      }
      await forward({
        ...{ context, request, response, route, visit, logger },
        ...{ guards, forwardedHeaders, isSecure, slowClients, clientAddress },
      });
    } catch (error) {
      if (error instanceof CallerGoneError) return;
      const failure = toFailure(error);
      logFailure(logger, failure, context);
      const headers = [
        ...answerHeaders.list(context),
        ...transportSecurityOf(isSecure(request)),
        ...(visit?.answerHeaders ?? []),
      ];
      refuse(request, response, context, failure, headers);
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

/**
 * Returns what answers a preflight: the route of the method that it names, else a route that takes OPTIONS itself and has CORS. Undefined
 * for any other request, and where no CORS is set: then OPTIONS is a method as any other.
 */
function preflightOf(request: IncomingMessage, routes: MatchedPath['routes']): Policy | undefined {
  if (!isPreflight(request)) return undefined;
  const named = routes.get(String(request.headers['access-control-request-method']));
  return named?.preflight ?? routes.get('OPTIONS')?.preflight;
}

/** A client that sends too much, or does not get on with it, is not waited for: the connection closes with the answer. */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  context: RequestContext,
  failure: Failure,
  headers: readonly string[],
): void {
  const givesUp = failure.code === 'payload-too-large' || failure.code === 'request-timeout';
  if (givesUp && !request.complete) response.shouldKeepAlive = false;
  if (writeProblem(request, response, failure, context, headers)) endWhileReceiving(request, response);
}
