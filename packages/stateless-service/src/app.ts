import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { createServiceApp, type ServiceAppDependencies } from '@zerda/chassis/http/service-app';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { statelessServiceContract } from '@zerda/contracts/stateless-service/contract';
import { sampleItemOperations } from '@zerda/contracts/stateless-service/estimates';
import type { Express } from 'express';
import { createSampleItemHandlers } from './http/sample-item-handlers.ts';

export interface AppDependencies extends ServiceAppDependencies {
  readonly unitPriceCents: number;
  readonly authentication: Authentication;
}

/** Creates the API of stateless-service. */
export function createApp(dependencies: AppDependencies): Express {
  const { unitPriceCents, authentication, audit } = dependencies;
  const handlers = createSampleItemHandlers(unitPriceCents);
  return createServiceApp(dependencies, documentOf(statelessServiceContract), (app) => {
    app.use(createApiRouter(sampleItemOperations, handlers, { authentication, audit }));
  });
}
