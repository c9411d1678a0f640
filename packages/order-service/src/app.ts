import type { KeySet } from '@zerda/chassis/auth/key-set';
import { type Authentication, keysPath } from '@zerda/chassis/auth/open-verifier';
import { serveKeys } from '@zerda/chassis/auth/serve-keys';
import { createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver, type RequestObserverOptions } from '@zerda/chassis/http/request-observer';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { documents } from '@zerda/contracts/openapi/documents';
import { orderOperations } from '@zerda/contracts/orders';
import express, { type Express } from 'express';
import { createPlaceOrder, type UserDirectory } from './domain/place-order.ts';
import { createOrderHandlers } from './http/order-handlers.ts';
import type { OrderStore } from './store/order-store.ts';

export interface AppDependencies {
  readonly orders: OrderStore;
  readonly users: UserDirectory;
  readonly authentication: Authentication;
  /** Keys of access tokens to serve to a starting gateway; none by default. */
  readonly keySet?: KeySet | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take. */
  readonly requestTimeoutMs: number;
  /** What lines of the log say of clients; see the request observer. */
  readonly requestLog?: Pick<RequestObserverOptions, 'clientInLog' | 'subjectInLog'>;
}

/** The order service's API, in the order that a request goes through it. */
export function createApp({
  orders,
  users,
  authentication,
  keySet,
  logger,
  metrics,
  requestTimeoutMs,
  requestLog,
}: AppDependencies): Express {
  const placeOrder = createPlaceOrder({ orders, users });
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, ...requestLog }).middleware);
  app.use(createAnswerHeaders().set);
  app.use(createApiRouter(orderOperations, createOrderHandlers({ orders, placeOrder }), authentication));
  if (keySet !== undefined) app.get(keysPath, serveKeys(keySet));
  app.use(serveOpenApi(documents['order-service']));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
