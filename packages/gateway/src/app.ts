import type { IncomingMessage, RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { Failure } from '@zerda/chassis/failure';
import { createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import {
  type ClientAddress,
  createClientLookup,
  type TrustedProxies,
} from '@zerda/chassis/http/client-address';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createClientInLog, createRequestObserver } from '@zerda/chassis/http/request-observer';
import { routerPath } from '@zerda/chassis/http/route-path';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { runInContext } from '@zerda/chassis/request-context';
import { gatewayOperations } from '@zerda/contracts/gateway';
import { documents } from '@zerda/contracts/openapi/documents';
import express, { type RequestHandler, Router } from 'express';
import { createAggregateRouter } from './aggregates/aggregate.ts';
import { createHealth } from './aggregates/health.ts';
import { createAnswerCache } from './cache/answer-cache.ts';
import { createDocumentationRouter } from './documentation/documentation-router.ts';
import { createForwardedHeaders, createSecureLookup } from './forwarded-headers.ts';
import { createFrontDoor } from './front-door.ts';
import type { Limiters } from './limits/limiter.ts';
import type { LoadMonitor } from './load-monitor.ts';
import { oddityOf } from './odd-request.ts';
import { createAnswerFilter, createAnswerGuards, transportSecurityOf } from './passed-headers.ts';
import { createUpstreamCounters } from './policies/limit.ts';
import { asMiddleware, createOwnPolicies, type OwnPolicies } from './policies/own-endpoints.ts';
import type { PolicyResources } from './policies/resources.ts';
import { addHeaders } from './policies/visit.ts';
import { healthPath, ownPaths } from './routes/conflicts.ts';
import { createMatch } from './routes/match.ts';
import { formOf } from './routes/path-form.ts';
import { cachedUpstreams, createRoutes, resolveRoutes } from './routes/route.ts';
import type { RouteTable } from './routes/table.ts';
import { type SlowClients, watchResponse } from './slow-clients.ts';
import type { Upstreams } from './upstreams.ts';

export interface AppDependencies {
  readonly table: RouteTable;
  readonly upstreams: Upstreams;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take. */
  readonly requestTimeoutMs: number;
  /** Milliseconds an upstream has, on routes that do not say. */
  readonly upstreamTimeoutMs: number;
  /** Proxies in front of the gateway. */
  readonly trustedProxies: TrustedProxies;
  /** How lines of the log name the address of the client. */
  readonly clientAddressInLog: 'full' | 'truncated' | 'off';
  /** Whether lines of the log name the subject of the caller. */
  readonly subjectInLog: boolean;
  /** Tells who asks; `off` when everybody may do everything. */
  readonly authentication: Authentication;
  /** Where requests are counted that have a limit. */
  readonly limiters: Limiters;
  /** What every limit of the table is multiplied by; 0 switches limits off. */
  readonly limitFactor: number;
  /** How much there is to do. */
  readonly load: LoadMonitor;
  /** Watches clients that take a while. */
  readonly slowClients: SlowClients;
  /** Bytes of answers that are kept at most. */
  readonly cacheBytes: number;
}

/** The gateway: what is forwarded goes past Express, which answers the rest. */
export function createApp({
  table,
  upstreams,
  logger,
  metrics,
  requestTimeoutMs,
  upstreamTimeoutMs,
  trustedProxies,
  clientAddressInLog,
  subjectInLog,
  authentication,
  limiters,
  limitFactor,
  load,
  slowClients,
  cacheBytes,
}: AppDependencies): RequestListener {
  const answerHeaders = createAnswerHeaders();
  const guards = createAnswerGuards();
  const settings = resolveRoutes(table, upstreamTimeoutMs);
  const findClient = createClientLookup(trustedProxies, logger);
  const forwardedHeaders = createForwardedHeaders(findClient);
  const isSecure = createSecureLookup(findClient);
  const clientAddress: ClientAddress = (request) => findClient(request).address;
  const observer = createRequestObserver({
    ...{ logger, metrics, requestTimeoutMs, subjectInLog },
    clientInLog: createClientInLog(clientAddressInLog, clientAddress),
  });
  const resources: PolicyResources = {
    ...{ authentication, limiters, limitFactor, load, guards, forwardedHeaders, isSecure, upstreamTimeoutMs },
    passesAnswer: createAnswerFilter(guards.names),
    metrics: metrics.policies,
    clientAddress,
    upstreamCounters: createUpstreamCounters(table.upstreams, { limiters, limitFactor }),
    cache: createAnswerCache(cacheBytes, metrics.policies),
    cachedUpstreams: cachedUpstreams(table, settings),
  };
  const own = createOwnPolicies(table.own, resources);
  const frontDoor = createFrontDoor({
    match: createMatch(createRoutes(settings, upstreams, resources), [
      ...ownPaths,
      ...table.aggregates.map(({ path }) => path),
    ]),
    ...{ answerHeaders, guards, forwardedHeaders, isSecure, slowClients, clientAddress, own },
    logger,
  });
  const { getHealth } = gatewayOperations;
  const health = createHealth(table, upstreams, authentication);

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(createRejectMalformed(own));
  app.use(createRejectPath(own));
  app.use(createAggregateRouter(table, upstreams, resources, own));
  app.use(createOwnRouter(own));
  app.use(
    createApiRouter(
      { getHealth },
      { getHealth: async ({ caller }) => ({ body: await health(caller) }) },
      authentication,
    ),
  );
  app.use(serveOpenApi(documents.gateway));
  app.use(createDocumentationRouter(documents.gateway));
  app.use(asMiddleware(own.unmatched), notFound);
  app.use(problemHandler({ logger }));

  return (request, response) => {
    // Behind a request that could not be read for certain, nobody knows where the next one begins.
    if (response.socket === null && closing.has(request.socket)) return;
    takeOriginForm(request);
    const context = observer.begin(request, response);
    watchResponse({ request, slowClients, clientAddress }, response);
    if (oddityOf(request) === undefined && frontDoor(request, response, context)) return;
    answerHeaders.setOn(response, context);
    addHeaders(response, transportSecurityOf(isSecure(request)));
    runInContext(context, () => app(request, response));
  };
}

/**
 * A client may send the whole URL as if to a proxy: what counts is its path, and its authority instead of the `Host`
 * header (RFC 9112, section 3.2.2).
 */
function takeOriginForm(request: IncomingMessage): void {
  const { url = '' } = request;
  if (url.startsWith('/')) return;
  const [, authority, path = ''] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  if (authority === undefined) return;
  request.url = path.startsWith('/') ? path : `/${path}`;
  // HTTP/1.1 requires the header all the same (RFC 9112, section 3.2).
  if (request.headers.host !== undefined || request.httpVersionMinor === 0)
    request.headers.host = authority.replace(/^.*@/, '');
}

/** Connections on which no further request is read. */
const closing = new WeakSet<Socket>();

/** Rejects what could be read in more than one way, and closes its connection, whether the client is within its limit or not. */
function createRejectMalformed({ unmatched }: OwnPolicies): RequestHandler {
  const count = asMiddleware(unmatched);
  return (request, response, next) => {
    const oddity = oddityOf(request);
    if (oddity === undefined) return next();
    closing.add(request.socket);
    response.shouldKeepAlive = false;
    return count(request, response, (error) => next(error ?? oddity));
  };
}

/**
 * Rejects paths that the gateway and a service could resolve differently (RFC 9112, section 3.2). Encoded slashes are rejected here too:
 * a route that allows them has taken its requests before.
 */
function createRejectPath({ unmatched }: OwnPolicies): RequestHandler {
  const count = asMiddleware(unmatched);
  return (request, response, next) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const form = path === '*' ? 'plain' : formOf(path);
    if (form === 'plain') return next();
    const detail =
      form === 'slashes'
        ? 'The path holds encoded slashes, which this route does not take.'
        : 'The path has empty segments, dot segments or characters that no path has.';
    return count(request, response, (error) => next(error ?? new Failure('invalid-request', { detail })));
  };
}

/** Runs the policies of the gateway's own endpoints before they answer. */
function createOwnRouter({ documentation, health }: OwnPolicies): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const path of ownPaths)
    router.all(routerPath(path), asMiddleware(path === healthPath ? health : documentation));
  return router;
}
