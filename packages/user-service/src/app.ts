import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { serveOpenApi } from '@zerda/chassis/http/open-api';
import { notFound, problemHandler } from '@zerda/chassis/http/problem-response';
import { createRequestObserver, type RequestObserverOptions } from '@zerda/chassis/http/request-observer';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { identityOperations } from '@zerda/contracts/identity';
import { documents } from '@zerda/contracts/openapi/documents';
import { userOperations } from '@zerda/contracts/users';
import express, { type Express } from 'express';
import { createIdentityHandlers, type IdentityHandlersDependencies } from './http/identity-handlers.ts';
import { createUserHandlers, type UserHandlersDependencies } from './http/user-handlers.ts';

export interface AppDependencies
  extends Omit<UserHandlersDependencies, 'issuesTokens' | 'passwords'>,
    Pick<IdentityHandlersDependencies, 'clientAddress'> {
  readonly passwords: UserHandlersDependencies['passwords'] & IdentityHandlersDependencies['passwords'];
  readonly authentication: Authentication;
  /** What logs users in; undefined where another issuer does. */
  readonly identity: Pick<IdentityHandlersDependencies, 'issuer' | 'sessions'> | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds a request may take. */
  readonly requestTimeoutMs: number;
  /** What lines of the log say of clients; see the request observer. */
  readonly requestLog?: Pick<RequestObserverOptions, 'clientInLog' | 'subjectInLog'>;
}

/** The user service's API, in the order that a request goes through it. */
export function createApp(dependencies: AppDependencies): Express {
  const { authentication, identity, logger, metrics, requestTimeoutMs, requestLog } = dependencies;
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, ...requestLog }).middleware);
  app.use(createAnswerHeaders().set);
  if (identity !== undefined)
    app.use(createApiRouter(identityOperations, createIdentityHandlers({ ...dependencies, ...identity })));
  const issuesTokens = identity !== undefined;
  app.use(
    createApiRouter(
      userOperations,
      createUserHandlers({ ...dependencies, issuesTokens }),
      authentication,
      dependencies.clientAddress,
    ),
  );
  app.use(serveOpenApi(documents['user-service']));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
