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
import { userServiceContract } from '@zerda/contracts/user-service/contract';
import { identityOperations } from '@zerda/contracts/user-service/identity';
import { userOperations } from '@zerda/contracts/user-service/users';
import express, { type Express } from 'express';
import { createChangeUser } from './domain/change-user.ts';
import { createRegisterUser } from './domain/register-user.ts';
import { createIdentityHandlers, type IdentityHandlersDependencies } from './http/identity-handlers.ts';
import { createUserHandlers, type UserHandlersDependencies } from './http/user-handlers.ts';
import type { LoginLimits } from './identity/login-limits.ts';
import type { Passwords } from './identity/passwords.ts';
import type { UserStore } from './store/user-store.ts';

export interface AppDependencies
  extends Omit<UserHandlersDependencies, keyof OwnDependencies>,
    Pick<IdentityHandlersDependencies, 'clientAddress'> {
  readonly users: UserStore;
  readonly passwords: Passwords;
  readonly limits: LoginLimits;
  readonly authentication: Authentication;
  /** Issuer and sessions for logins; undefined if an external issuer logs users in. */
  readonly identity: Pick<IdentityHandlersDependencies, 'issuer' | 'sessions'> | undefined;
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

/** Dependencies of the handlers that the app creates itself, or needs a larger part of. */
type OwnDependencies = Pick<
  UserHandlersDependencies,
  'users' | 'passwords' | 'limits' | 'registerUser' | 'changeUser' | 'issuesTokens'
>;

/** Creates the API of user-service. A request passes the middleware in this order. */
export function createApp(dependencies: AppDependencies): Express {
  const { authentication, identity, logger, audit, metrics, requestTimeoutMs, tracer, requestLog } =
    dependencies;
  const app = express();
  app.disable('x-powered-by');
  app.use(createRequestObserver({ logger, metrics, requestTimeoutMs, tracer, ...requestLog }).middleware);
  app.use(createResponseHeaders().set);
  if (identity !== undefined)
    app.use(
      createApiRouter(identityOperations, createIdentityHandlers({ ...dependencies, ...identity }), {
        audit,
      }),
    );
  const issuesTokens = identity !== undefined;
  const registerUser = createRegisterUser(dependencies);
  const changeUser = createChangeUser({ ...dependencies, issuesTokens });
  app.use(
    createApiRouter(
      userOperations,
      createUserHandlers({ ...dependencies, registerUser, changeUser, issuesTokens }),
      { authentication, clientAddress: dependencies.clientAddress, audit },
    ),
  );
  app.use(serveOpenApi(documentOf(userServiceContract)));
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return app;
}
