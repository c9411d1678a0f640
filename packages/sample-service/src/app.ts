import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { createServiceApp, type ServiceAppDependencies } from '@zerda/chassis/http/service-app';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { sampleServiceContract } from '@zerda/contracts/sample-service/contract';
import { sampleItemOperations } from '@zerda/contracts/sample-service/sample-items';
import type { Express } from 'express';
import { createSampleItemHandlers } from './http/sample-item-handlers.ts';
import type { SampleItemStore } from './store/sample-item-store.ts';

export interface AppDependencies extends ServiceAppDependencies {
  readonly sampleItems: SampleItemStore;
  readonly idempotency: Idempotency;
  readonly authentication: Authentication;
}

/** Creates the API of sample-service. */
export function createApp(dependencies: AppDependencies): Express {
  const { sampleItems, idempotency, authentication, audit } = dependencies;
  const handlers = createSampleItemHandlers({ sampleItems, idempotency });
  return createServiceApp(dependencies, documentOf(sampleServiceContract), (app) => {
    app.use(createApiRouter(sampleItemOperations, handlers, { authentication, audit }));
  });
}
