import express, { type Express } from 'express';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Tracer } from '../tracing/span.ts';
import { serveOpenApi } from './open-api.ts';
import { notFound, problemHandler } from './problem-response.ts';
import { createRequestObserver, type RequestObserverOptions } from './request-observer.ts';
import { createResponseHeaders } from './response-headers.ts';

/** What the app of every service needs from its process. */
export interface ServiceAppDependencies {
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

/**
 * Creates the app of a service. A request passes the observer, the response headers, the routes of the service and those of its OpenAPI
 * document; what is left is not found. Errors become problems.
 * @param document OpenAPI document of the service
 * @param addRoutes adds the routes of the service
 */
export function createServiceApp(
  { logger, metrics, requestTimeoutMs, tracer, requestLog }: ServiceAppDependencies,
  document: object,
  addRoutes: (app: Express) => void,
): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, tracer, ...requestLog }).middleware);
  app.use(createResponseHeaders().set);
  addRoutes(app);
  app.use(serveOpenApi(document));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
