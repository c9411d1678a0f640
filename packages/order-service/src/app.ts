import type { AuditLog } from '@zerda/chassis/audit/audit-log';
import type { KeySet } from '@zerda/chassis/auth/key-set';
import { type Authentication, keysPath } from '@zerda/chassis/auth/open-verifier';
import { serveKeys } from '@zerda/chassis/auth/serve-keys';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver, type RequestObserverOptions } from '@zerda/chassis/http/request-observer';
import { createResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import type { Tracer } from '@zerda/chassis/tracing/span';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { orderOperations } from '@zerda/contracts/order-service/orders';
import express, { type Express } from 'express';
import { createPlaceOrder, type UserDirectory } from './domain/place-order.ts';
import { createOrderHandlers } from './http/order-handlers.ts';
import type { OrderStore } from './store/order-store.ts';

export interface AppDependencies {
  readonly orders: OrderStore;
  readonly users: UserDirectory;
  readonly idempotency: Idempotency;
  readonly authentication: Authentication;
  /** Public keys of access tokens, served to gateways that start; none by default. */
  readonly keySet?: KeySet | undefined;
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

/** Creates the API of order-service. A request passes the middleware in this order. */
export function createApp({
  orders,
  users,
  idempotency,
  authentication,
  keySet,
  logger,
  audit,
  metrics,
  requestTimeoutMs,
  tracer,
  requestLog,
}: AppDependencies): Express {
  const placeOrder = createPlaceOrder({ orders, users });
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, tracer, ...requestLog }).middleware);
  app.use(createResponseHeaders().set);
  app.use(
    createApiRouter(orderOperations, createOrderHandlers({ orders, placeOrder, idempotency }), {
      authentication,
      audit,
    }),
  );
  if (keySet !== undefined) app.get(keysPath, serveKeys(keySet));
  app.use(serveOpenApi(documentOf(orderServiceContract)));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
