import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { mapConstraints } from '@zerda/chassis/database/constraints';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/database/testing';
import { silentLogger, testMetrics } from '@zerda/chassis/testing';
import type { Express } from 'express';
import { createApp } from './app.ts';
import type { UserDirectory } from './domain/place-order.ts';
import { constraints } from './store/constraints.ts';
import { createOrderStore } from './store/order-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

/** The whole service on an embedded database of its own; `users` says who exists, and nobody is asked who they are by default. */
export async function openTestApp(
  users: UserDirectory,
  authentication: Authentication = 'off',
): Promise<{ app: Express; database: Database }> {
  const database = await openTestPglite(migrations);
  const app = createApp({
    orders: createOrderStore(mapConstraints(database, constraints)),
    users,
    authentication,
    logger: silentLogger(),
    metrics: testMetrics(),
    requestTimeoutMs: 10_000,
  });
  return { app, database };
}
