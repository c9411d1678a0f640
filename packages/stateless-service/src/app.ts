import type { AuditLog } from '@zerda/chassis/audit/audit-log';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver, type RequestObserverOptions } from '@zerda/chassis/http/request-observer';
import { createResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import type { Tracer } from '@zerda/chassis/tracing/span';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { statelessServiceContract } from '@zerda/contracts/stateless-service/contract';
import { sampleItemOperations } from '@zerda/contracts/stateless-service/estimates';
import express, { type Express } from 'express';
import { createSampleItemHandlers } from './http/sample-item-handlers.ts';

export interface AppDependencies {
  readonly unitPriceCents: number;
  readonly authentication: Authentication;
  readonly logger: Logger;
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  /** Time limit of a request in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Records spans of sampled requests; undefined records none. */
  readonly tracer?: Tracer | undefined;
  /** Client data in log lines; see the request observer. */
  readonly requestLog?: Pick<RequestObserverOptions, 'clientInLog' | 'subjectInLog'>;
}

/** Creates the API of stateless-service. A request passes the middleware in this order. */
export function createApp({
  unitPriceCents,
  authentication,
  logger,
  audit,
  metrics,
  requestTimeoutMs,
  tracer,
  requestLog,
}: AppDependencies): Express {
  const handlers = createSampleItemHandlers(unitPriceCents);
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, tracer, ...requestLog }).middleware);
  app.use(createResponseHeaders().set);
  app.use(createApiRouter(sampleItemOperations, handlers, { authentication, audit }));
  app.use(serveOpenApi(documentOf(statelessServiceContract)));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
