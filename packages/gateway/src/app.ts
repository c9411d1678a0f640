import type { RequestListener } from 'node:http';
import type { AuditLog } from '@zerda/chassis/audit/audit-log';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import {
  type ClientAddress,
  createClientLookup,
  type TrustedProxies,
} from '@zerda/chassis/http/client-address';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createClientInLog, createRequestObserver } from '@zerda/chassis/http/request-observer';
import { createResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { runInContext } from '@zerda/chassis/request-context';
import type { Tracer } from '@zerda/chassis/tracing/span';
import { gatewayOperations } from '@zerda/contracts/gateway/operations';
import { findDocument } from '@zerda/contracts/openapi/documents';
import express from 'express';
import { createAggregateRouter } from './aggregates/aggregate-router.ts';
import { createResponseCache } from './cache/response-cache.ts';
import { createDocumentationRouter } from './documentation/documentation-router.ts';
import { createForwardingHandler } from './forwarding/forwarding-handler.ts';
import { createForwardedHeaders, createSecureLookup } from './headers/forwarded-headers.ts';
import { createResponseFilter } from './headers/passed-headers.ts';
import { createSecurityHeaders, transportSecurityOf } from './headers/security-headers.ts';
import type { Limiters } from './limits/limiter.ts';
import { createRequestCounters } from './limits/request-counters.ts';
import type { PolicyMetrics } from './metrics/policy-metrics.ts';
import type { BodyPacer } from './overload/body-pacer.ts';
import type { LoadMonitor } from './overload/load-monitor.ts';
import { type SlowClients, watchResponse } from './overload/slow-clients.ts';
import { createHealth } from './own-endpoints/health.ts';
import { ownPaths } from './own-endpoints/own-paths.ts';
import { asMiddleware, createOwnPolicies } from './own-endpoints/own-policies.ts';
import { createOwnRouter } from './own-endpoints/own-router.ts';
import { policies as gatewayPolicies } from './policies/policies.ts';
import { addHeaders } from './policies/policy-context.ts';
import { createPolicyFactory, type PolicyList } from './policies/route-policies.ts';
import { findMalformation } from './requests/malformed-request.ts';
import { takeOriginForm } from './requests/origin-form.ts';
import { createRejectMalformed, createRejectPath, followsMalformed } from './requests/reject-malformed.ts';
import { createMatch } from './routes/match.ts';
import { cachedUpstreams, createRoutes, resolveRoutes } from './routes/route.ts';
import type { RouteTable } from './routes/table.ts';
import type { Upstreams } from './upstreams/upstreams.ts';

export interface AppDependencies {
  readonly table: RouteTable;
  readonly upstreams: Upstreams;
  readonly logger: Logger;
  /** Gets a line for each write that a policy denies. */
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly policyMetrics: PolicyMetrics;
  /** Milliseconds that a request may take. */
  readonly requestTimeoutMs: number;
  /** Upstream timeout in milliseconds for routes without `timeout_ms`. */
  readonly upstreamTimeoutMs: number;
  /** Proxies in front of the gateway. */
  readonly trustedProxies: TrustedProxies;
  /** How log lines record the client address. */
  readonly clientAddressInLog: 'full' | 'truncated' | 'off';
  /** Whether log lines record the subject of the caller. */
  readonly subjectInLog: boolean;
  /** Records spans of sampled requests; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /** Whether requests continue the trace of the client; false by default. */
  readonly trustsTraces?: boolean;
  /** Identifies the caller; `off` runs without authentication. */
  readonly authentication: Authentication;
  /** Store of the rate limit counters. */
  readonly limiters: Limiters;
  /** Factor applied to every limit of the route table; 0 disables limits. */
  readonly limitFactor: number;
  /** Measures the load of the process. */
  readonly load: LoadMonitor;
  /** Watches slow clients. */
  readonly slowClients: SlowClients;
  /** Shares the event loop between large responses and other work. */
  readonly bodyPacer: BodyPacer;
  /** Maximum bytes of cached responses. */
  readonly cacheBytes: number;
  /** The policies, in the order in which they run; those of the gateway by default. */
  readonly policies?: PolicyList;
}

/** Creates the request listener of the gateway. Forwarded requests bypass Express; Express serves the rest. */
export function createApp({
  table,
  upstreams,
  logger,
  audit,
  metrics,
  policyMetrics,
  requestTimeoutMs,
  upstreamTimeoutMs,
  trustedProxies,
  clientAddressInLog,
  subjectInLog,
  tracer,
  trustsTraces = false,
  authentication,
  limiters,
  limitFactor,
  load,
  slowClients,
  bodyPacer,
  cacheBytes,
  policies = gatewayPolicies,
}: AppDependencies): RequestListener {
  const responseHeaders = createResponseHeaders();
  const securityHeaders = createSecurityHeaders();
  const routeSettings = resolveRoutes(table, upstreamTimeoutMs);
  const findClient = createClientLookup(trustedProxies, logger);
  const forwardedHeaders = createForwardedHeaders(findClient);
  const isSecure = createSecureLookup(findClient);
  const clientAddress: ClientAddress = (request) => findClient(request).address;
  const observer = createRequestObserver({
    logger,
    metrics,
    requestTimeoutMs,
    subjectInLog,
    clientInLog: createClientInLog(clientAddressInLog, clientAddress),
    tracer,
    trustsTraces,
    isSecure,
  });
  const cache = createResponseCache(cacheBytes, policyMetrics);
  const policyFactory = createPolicyFactory(policies, {
    authentication,
    load,
    cache,
    securityHeaders,
    forwardedHeaders,
    isSecure,
    metrics: policyMetrics,
    logger,
    cachedUpstreams: cachedUpstreams(table, routeSettings),
    counters: createRequestCounters({
      limiters,
      limitFactor,
      clientAddress,
      authentication,
      upstreams: table.upstreams,
      logger,
    }),
  });
  const ownPolicies = createOwnPolicies(table.own, policyFactory);
  const handleForwarded = createForwardingHandler({
    match: createMatch(createRoutes(routeSettings, upstreams, { policyFactory, securityHeaders }), [
      ...ownPaths,
      ...table.aggregates.map(({ path }) => path),
    ]),
    responseHeaders,
    securityHeaders,
    forwardedHeaders,
    isSecure,
    slowClients,
    bodyPacer,
    clientAddress,
    ownPolicies,
    logger,
    audit,
  });
  const { getHealth } = gatewayOperations;
  const health = createHealth(table, upstreams, authentication);

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(createRejectMalformed(ownPolicies));
  app.use(createRejectPath(ownPolicies));
  app.use(
    createAggregateRouter(table, {
      upstreams,
      policyFactory,
      ownPolicies,
      cachedReads: {
        cache,
        metrics: policyMetrics,
        passesResponse: createResponseFilter(securityHeaders.names),
        upstreamTimeoutMs,
      },
    }),
  );
  app.use(createOwnRouter(ownPolicies));
  app.use(
    createApiRouter(
      { getHealth },
      { getHealth: async ({ caller }) => ({ body: await health(caller) }) },
      { authentication },
    ),
  );
  app.use(serveOpenApi(findDocument('gateway')));
  app.use(createDocumentationRouter(findDocument('gateway')));
  app.use(asMiddleware(ownPolicies.unmatched), notFound);
  app.use(problemHandler({ logger }));

  return (request, response) => {
    if (followsMalformed(request, response)) return;
    takeOriginForm(request);
    const context = observer.begin(request, response);
    watchResponse({ request, slowClients, clientAddress }, response);
    if (findMalformation(request) === undefined && handleForwarded(request, response, context)) return;
    responseHeaders.setOn(response, context);
    addHeaders(response, transportSecurityOf(isSecure(request)));
    runInContext(context, () => app(request, response));
  };
}
