import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { mapConstraints } from '@zerda/chassis/database/constraints';
import type { Database } from '@zerda/chassis/database/database';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import type { Express } from 'express';
import { createApp } from '../src/app.ts';
import { constraints } from '../src/store/constraints.ts';
import { createSampleItemStore } from '../src/store/sample-item-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

/** Opens the app on a new embedded database; authentication is off by default. */
export async function openTestApp(
  authentication: Authentication = 'off',
): Promise<{ app: Express; database: Database }> {
  const database = await openTestPglite(migrations);
  const mapped = mapConstraints(database, constraints);
  const app = createApp({
    sampleItems: createSampleItemStore(mapped),
    idempotency: createIdempotency(mapped),
    authentication,
    logger: silentLogger(),
    audit: testAudit(),
    metrics: testMetrics(),
    requestTimeoutMs: 10_000,
  });
  return { app, database };
}
