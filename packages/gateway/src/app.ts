import type { IncomingMessage, RequestListener } from 'node:http';
import type { BlockList, Socket } from 'node:net';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver } from '@zerda/chassis/http/request-observer';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { runInContext } from '@zerda/chassis/request-context';
import { gatewayOperations } from '@zerda/contracts/gateway';
import { documents } from '@zerda/contracts/openapi/documents';
import express, { type RequestHandler } from 'express';
import { createAggregateRouter } from './aggregates/aggregate.ts';
import { createHealth } from './aggregates/health.ts';
import { createAnswerCache } from './cache/answer-cache.ts';
import { createCallerAddress } from './caller-address.ts';
import { createDocumentationRouter } from './documentation/documentation-router.ts';
import { createForwardedHeaders } from './forwarded-headers.ts';
import { createFrontDoor } from './front-door.ts';
import type { Limiters } from './limits/limiter.ts';
import type { LoadMonitor } from './load-monitor.ts';
import { oddityOf } from './odd-request.ts';
import { createAnswerFilter, createAnswerGuards } from './passed-headers.ts';
import { createPeers } from './peers.ts';
import { createUpstreamCounters } from './policies/limit.ts';
import type { PolicyResources } from './policies/resources.ts';
import { ownPaths } from './routes/conflicts.ts';
import { createMatch } from './routes/match.ts';
import { cachedUpstreams, createRoutes, resolveRoutes } from './routes/route.ts';
import type { RouteTable } from './routes/table.ts';
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
  /** Proxies in front whose word about the client is believed; none by default. */
  readonly trustedProxies?: BlockList | undefined;
  /** Tells who asks; `off` when everybody may do everything. */
  readonly authentication: Authentication;
  /** Where requests are counted that have a limit. */
  readonly limiters: Limiters;
  /** What every limit of the table is multiplied by; 0 switches limits off. */
  readonly limitFactor: number;
  /** How much there is to do. */
  readonly load: LoadMonitor;
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
  authentication,
  limiters,
  limitFactor,
  load,
  cacheBytes,
}: AppDependencies): RequestListener {
  const answerHeaders = createAnswerHeaders();
  const guards = createAnswerGuards();
  const observer = createRequestObserver({ logger, metrics, requestTimeoutMs });
  const settings = resolveRoutes(table, upstreamTimeoutMs);
  const peers = createPeers(trustedProxies);
  const forwardedHeaders = createForwardedHeaders(peers);
  const resources: PolicyResources = {
    ...{ authentication, limiters, limitFactor, load, guards, forwardedHeaders, upstreamTimeoutMs },
    passesAnswer: createAnswerFilter(guards.names),
    metrics: metrics.policies,
    clientAddress: createCallerAddress(peers, trustedProxies, warnOnce(logger)),
    upstreamCounters: createUpstreamCounters(table.upstreams, { limiters, limitFactor }),
    cache: createAnswerCache(cacheBytes, metrics.policies),
    cachedUpstreams: cachedUpstreams(table, settings),
  };
  const frontDoor = createFrontDoor({
    match: createMatch(createRoutes(settings, upstreams, resources), [
      ...ownPaths,
      ...table.aggregates.map(({ path }) => path),
    ]),
    ...{ answerHeaders, guards, forwardedHeaders },
    logger,
  });
  const { getHealth } = gatewayOperations;
  const health = createHealth(table, upstreams, authentication);

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(refuseOdd);
  app.use(createAggregateRouter(table, upstreams, resources));
  app.use(
    createApiRouter(
      { getHealth },
      { getHealth: async ({ caller }) => ({ body: await health(caller) }) },
      authentication,
    ),
  );
  app.use(serveOpenApi(documents.gateway));
  app.use(createDocumentationRouter(documents.gateway));
  app.use(notFound);
  app.use(problemHandler({ logger }));

  return (request, response) => {
    // Behind a request that could not be read for certain, nobody knows where the next one begins.
    if (response.socket === null && closing.has(request.socket)) return;
    takeOriginForm(request);
    const context = observer.begin(request, response);
    if (oddityOf(request) === undefined && frontDoor(request, response, context)) return;
    answerHeaders.setOn(response, context);
    runInContext(context, () => app(request, response));
  };
}

/** Tells once of what looks like a proxy that is not configured: all its clients would be limited as one. */
function warnOnce(logger: Logger): (address: string) => void {
  let warned = false;
  return (address) => {
    if (warned) return;
    warned = true;
    logger.warn(
      { address },
      'this address says for whom it asks, and is not among TRUSTED_PROXIES: if it is a proxy, its clients are limited as one',
    );
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
  request.headers.host = authority.replace(/^.*@/, '');
}

/** Connections on which no further request is read. */
const closing = new WeakSet<Socket>();

const refuseOdd: RequestHandler = (request, response, next) => {
  const oddity = oddityOf(request);
  if (oddity !== undefined) {
    closing.add(request.socket);
    response.shouldKeepAlive = false;
  }
  next(oddity);
};
