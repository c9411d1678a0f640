import { createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver } from '@zerda/chassis/http/request-observer';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { documents } from '@zerda/contracts/openapi/documents';
import { userOperations } from '@zerda/contracts/users';
import express, { type Express } from 'express';
import { createUserHandlers } from './http/user-handlers.ts';
import type { UserStore } from './store/user-store.ts';

export interface AppDependencies {
  readonly users: UserStore;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take. */
  readonly requestTimeoutMs: number;
}

/** The user service's API, in the order that a request goes through it. */
export function createApp({ users, logger, metrics, requestTimeoutMs }: AppDependencies): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs }).middleware);
  app.use(createAnswerHeaders().set);
  app.use(createApiRouter(userOperations, createUserHandlers(users)));
  app.use(serveOpenApi(documents['user-service']));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
