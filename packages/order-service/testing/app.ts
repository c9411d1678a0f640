import type { KeySet } from '@zerda/chassis/auth/key-set';
import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { mapConstraints } from '@zerda/chassis/database/constraints';
import type { Database } from '@zerda/chassis/database/database';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import type { Express } from 'express';
import { createApp } from '../src/app.ts';
import type { UserDirectory } from '../src/domain/place-order.ts';
import { constraints } from '../src/store/constraints.ts';
import { createOrderStore } from '../src/store/order-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

/**
 * Opens the app on a new embedded database. `users` defines which users exist; authentication is off by default.
 * @param keySet keys that the app serves; none by default
 */
export async function openTestApp(
  users: UserDirectory,
  authentication: Authentication = 'off',
  keySet?: KeySet,
): Promise<{ app: Express; database: Database }> {
  const database = await openTestPglite(migrations);
  const mapped = mapConstraints(database, constraints);
  const app = createApp({
    orders: createOrderStore(mapped),
    users,
    idempotency: createIdempotency(mapped),
    authentication,
    keySet,
    logger: silentLogger(),
    audit: testAudit(),
    metrics: testMetrics(),
    requestTimeoutMs: 10_000,
  });
  return { app, database };
}
