import type { RequestListener } from 'node:http';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver } from '@zerda/chassis/http/request-observer';
import { createSecurityHeaders } from '@zerda/chassis/http/security-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { gatewayOperations } from '@zerda/contracts/gateway';
import { documents } from '@zerda/contracts/openapi/documents';
import express from 'express';
import { createDashboard } from './aggregates/dashboard.ts';
import { createHealth } from './aggregates/health.ts';
import { createProfile } from './aggregates/profile.ts';
import { createDocumentationRouter } from './documentation/documentation-router.ts';
import { createFrontDoor } from './front-door.ts';
import { createMatch, createRoutes } from './routes.ts';
import type { Upstreams } from './upstreams.ts';

export interface AppDependencies {
  readonly upstreams: Upstreams;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take. */
  readonly requestTimeoutMs: number;
}

/** The gateway: what is forwarded goes past Express, which answers the rest. */
export function createApp({
  upstreams,
  logger,
  metrics,
  requestTimeoutMs,
}: AppDependencies): RequestListener {
  const setSecurityHeaders = createSecurityHeaders();
  const observe = createRequestObserver({ logger, metrics, requestTimeoutMs });
  const frontDoor = createFrontDoor({ match: createMatch(createRoutes(upstreams)), logger });
  const aggregates = createApiRouter(gatewayOperations, {
    getProfile: createProfile(upstreams),
    getDashboard: createDashboard(upstreams),
    getHealth: createHealth(upstreams),
  });

  const app = express();
  app.disable('x-powered-by');
  app.use(aggregates);
  app.use(serveOpenApi(documents.gateway));
  app.use(createDocumentationRouter(documents.gateway));
  app.use(notFound);
  app.use(problemHandler({ logger }));

  return (request, response) => {
    setSecurityHeaders(request, response, () =>
      observe(request, response, () => {
        if (!frontDoor(request, response)) app(request, response);
      }),
    );
  };
}
