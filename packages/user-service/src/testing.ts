import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/database/testing';
import { silentLogger, testMetrics } from '@zerda/chassis/testing';
import type { Express } from 'express';
import { createApp } from './app.ts';
import { createUserStore } from './store/user-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

/** The whole service on an embedded database of its own. */
export async function openTestApp(): Promise<{ app: Express; database: Database }> {
  const database = await openTestPglite(migrations);
  const app = createApp({
    users: createUserStore(database),
    logger: silentLogger(),
    metrics: testMetrics(),
    requestTimeoutMs: 10_000,
  });
  return { app, database };
}
