import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { databaseVariables } from '../src/config/common-variables.ts';
import { loadConfig } from '../src/config/load-config.ts';
import type { Database, Queries } from '../src/database/database.ts';
import { openServiceDatabase } from '../src/database/service-database.ts';
import { createLifecycle, type Lifecycle } from '../src/lifecycle/lifecycle.ts';
import { recordingLogger, testAudit, testMetrics } from './observed.ts';

/** The migration that every service has. */
const loadedDataTable = new URL('../src/database/tables/1_loaded_data.sql', import.meta.url);

/** The default migration of the service. */
const table = 'create table users (name text);';

export interface TestServiceOptions {
  /** Environment variables of the service. */
  readonly env: Record<string, string>;
  /** SQL of the first migration; creates a table of users by default. */
  readonly migration?: string;
  /** Demo data; one user by default. */
  readonly demoData?: (tx: Queries) => Promise<void>;
  /** How the database is opened; `openServiceDatabase` by default. */
  readonly open?: typeof openServiceDatabase;
}

/** A service that opens its database, and the result. */
export interface TestService {
  readonly lifecycle: Lifecycle;
  readonly lines: readonly Record<string, unknown>[];
  readonly metrics: ReturnType<typeof testMetrics>;
  readonly opened: Promise<Database>;
}

/** Opens the database of a service named `test-service`. */
export async function openAsService({
  env,
  migration = table,
  demoData = async (tx) => void (await tx.execute(sql`insert into users values ('Alice')`)),
  open = openServiceDatabase,
}: TestServiceOptions): Promise<TestService> {
  const { logger, lines } = recordingLogger();
  const lifecycle = createLifecycle({ logger });
  const metrics = testMetrics();
  const folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
  await writeFile(join(folder, '0001_users.sql'), migration);
  await copyFile(loadedDataTable, join(folder, '0002_loaded_data.sql'));
  const opened = open({
    service: 'test-service',
    config: loadConfig(z.object({ NODE_ENV: z.string().optional(), ...databaseVariables() }), env),
    migrations: pathToFileURL(`${folder}/`),
    logger,
    audit: testAudit(logger),
    lifecycle,
    metrics,
    demoData,
  });
  await opened.catch(() => undefined);
  await rm(folder, { recursive: true });
  return { lifecycle, lines, metrics, opened };
}
