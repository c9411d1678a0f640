import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { logFailure, sendProblem } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { CallerGoneError } from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import { forward } from './forward.ts';
import type { Match, Route } from './routes.ts';
import { toFailure } from './upstream-failure.ts';

export interface FrontDoorDependencies {
  readonly match: Match;
  readonly logger: Logger;
}

/** Forwards the request when its path is in the table of routes; false when it is somebody else's to answer. */
export type FrontDoor = (request: IncomingMessage, response: ServerResponse) => boolean;

export function createFrontDoor({ match, logger }: FrontDoorDependencies): FrontDoor {
  async function answer(request: IncomingMessage, response: ServerResponse, target: Target): Promise<void> {
    const { route, url } = target;
    try {
      if (!route.methods.includes(request.method ?? '')) {
        throw new Failure('method-not-allowed', { headers: { Allow: route.methods.join(', ') } });
      }
      await forward({ request, response, url, upstream: route.upstream, logger });
    } catch (error) {
      if (error instanceof CallerGoneError) return;
      const failure = toFailure(error);
      logFailure(logger, failure);
      refuse(request, response, failure);
    }
  }

  return (request, response) => {
    const url = originForm(request.url ?? '');
    const route = match(url.split('?', 1)[0] ?? '');
    if (route === undefined) return false;
    setRoute(response, route.path);
    void answer(request, response, { route, url });
    return true;
  };
}

interface Target {
  readonly route: Route;
  /** Path and query as the caller sent them. */
  readonly url: string;
}

/** What is left of the body is thrown away: unread, it would be taken for the next request on the connection. */
function refuse(request: IncomingMessage, response: ServerResponse, failure: Failure): void {
  sendProblem(request, response, failure);
  request.resume();
}

/** A client may send the whole URL as if to a proxy (RFC 9112, section 3.2.2); the path of it is what counts. */
function originForm(url: string): string {
  const [, path] = /^https?:\/\/[^/?#]*(.*)$/i.exec(url) ?? [];
  if (path === undefined) return url;
  return path.startsWith('/') ? path : `/${path}`;
}
