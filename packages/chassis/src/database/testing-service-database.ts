import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { databaseVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { createLifecycle, type Lifecycle } from '../lifecycle/lifecycle.ts';
import { recordingLogger, testMetrics } from '../testing.ts';
import type { Database, Queries } from './database.ts';
import { openServiceDatabase } from './service-database.ts';

/** The one migration of the service below, unless a test brings another. */
const table = 'create table users (name text);';

export interface TestServiceOptions {
  /** Environment variables of the service. */
  readonly env: Record<string, string>;
  /** Text of the only migration; a table of users by default. */
  readonly migration?: string;
  /** Demo data; one user by default. */
  readonly demoData?: (tx: Queries) => Promise<void>;
}

/** What a service has that opens its database, and how opening it went. */
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
}: TestServiceOptions): Promise<TestService> {
  const { logger, lines } = recordingLogger();
  const lifecycle = createLifecycle({ logger });
  const metrics = testMetrics();
  const folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
  await writeFile(join(folder, '0001_users.sql'), migration);
  const opened = openServiceDatabase({
    service: 'test-service',
    config: loadConfig(z.object({ NODE_ENV: z.string().optional(), ...databaseVariables() }), env),
    migrations: pathToFileURL(`${folder}/`),
    ...{ logger, lifecycle, metrics, demoData },
  });
  await opened.catch(() => undefined);
  await rm(folder, { recursive: true });
  return { lifecycle, lines, metrics, opened };
}
