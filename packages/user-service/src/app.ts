import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { createServiceApp, type ServiceAppDependencies } from '@zerda/chassis/http/service-app';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { userServiceContract } from '@zerda/contracts/user-service/contract';
import { identityOperations } from '@zerda/contracts/user-service/identity';
import { userOperations } from '@zerda/contracts/user-service/users';
import type { Express } from 'express';
import { createChangeUser } from './domain/change-user.ts';
import { createRegisterUser } from './domain/register-user.ts';
import { createIdentityHandlers, type IdentityHandlersDependencies } from './http/identity-handlers.ts';
import { createUserHandlers, type UserHandlersDependencies } from './http/user-handlers.ts';
import type { LoginLimits } from './identity/login-limits.ts';
import type { Passwords } from './identity/passwords.ts';
import type { UserStore } from './store/user-store.ts';

export interface AppDependencies
  extends ServiceAppDependencies,
    Omit<UserHandlersDependencies, keyof OwnDependencies>,
    Pick<IdentityHandlersDependencies, 'clientAddress'> {
  readonly users: UserStore;
  readonly passwords: Passwords;
  readonly limits: LoginLimits;
  readonly authentication: Authentication;
  /** Issuer and sessions for logins; undefined if an external issuer logs users in. */
  readonly identity: Pick<IdentityHandlersDependencies, 'issuer' | 'sessions'> | undefined;
}

/** Dependencies of the handlers that the app creates itself, or needs a larger part of. */
type OwnDependencies = Pick<
  UserHandlersDependencies,
  'users' | 'passwords' | 'limits' | 'registerUser' | 'changeUser' | 'issuesTokens'
>;

/** Creates the API of user-service. */
export function createApp(dependencies: AppDependencies): Express {
  const { authentication, identity, audit, clientAddress } = dependencies;
  const issuesTokens = identity !== undefined;
  const registerUser = createRegisterUser(dependencies);
  const changeUser = createChangeUser({ ...dependencies, issuesTokens });
  const userHandlers = createUserHandlers({ ...dependencies, registerUser, changeUser, issuesTokens });
  return createServiceApp(dependencies, documentOf(userServiceContract), (app) => {
    if (identity !== undefined) {
      const identityHandlers = createIdentityHandlers({ ...dependencies, ...identity });
      app.use(createApiRouter(identityOperations, identityHandlers, { audit }));
    }
    app.use(createApiRouter(userOperations, userHandlers, { authentication, clientAddress, audit }));
  });
}
