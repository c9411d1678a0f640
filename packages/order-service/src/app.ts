import type { KeySet } from '@zerda/chassis/auth/key-set';
import { type Authentication, keysPath } from '@zerda/chassis/auth/open-verifier';
import { serveKeys } from '@zerda/chassis/auth/serve-keys';
import { createApiRouter } from '@zerda/chassis/http/api-router';
import { createServiceApp, type ServiceAppDependencies } from '@zerda/chassis/http/service-app';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { orderOperations } from '@zerda/contracts/order-service/orders';
import type { Express } from 'express';
import { createPlaceOrder, type UserDirectory } from './domain/place-order.ts';
import { createOrderHandlers } from './http/order-handlers.ts';
import type { OrderStore } from './store/order-store.ts';

export interface AppDependencies extends ServiceAppDependencies {
  readonly orders: OrderStore;
  readonly users: UserDirectory;
  readonly idempotency: Idempotency;
  readonly authentication: Authentication;
  /** Public keys of access tokens, served to gateways that start; none by default. */
  readonly keySet?: KeySet | undefined;
}

/** Creates the API of order-service. */
export function createApp(dependencies: AppDependencies): Express {
  const { orders, users, idempotency, authentication, keySet, audit } = dependencies;
  const placeOrder = createPlaceOrder({ orders, users });
  const handlers = createOrderHandlers({ orders, placeOrder, idempotency });
  return createServiceApp(dependencies, documentOf(orderServiceContract), (app) => {
    app.use(createApiRouter(orderOperations, handlers, { authentication, audit }));
    if (keySet !== undefined) app.get(keysPath, serveKeys(keySet));
  });
}
