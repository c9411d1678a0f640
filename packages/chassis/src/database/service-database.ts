import { join } from 'node:path';
import type { z } from 'zod';
import type { databaseVariables } from '../config/common-variables.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { StartupError } from '../startup-error.ts';
import { acquireDataFolder } from './data-folder.ts';
import type { Database, Queries } from './database.ts';
import { loadOnce } from './load-once.ts';
import { migratePglite, migratePostgres } from './migrations.ts';
import { openPglite } from './pglite-database.ts';
import { openPostgres } from './postgres-database.ts';

/** The variables of `databaseVariables`, read. */
export type DatabaseConfig = z.output<z.ZodObject<ReturnType<typeof databaseVariables>>> & {
  readonly NODE_ENV?: string | undefined;
};

export interface ServiceDatabaseOptions {
  /** Name of the service: of its data folder, and of its demo data. */
  readonly service: string;
  readonly config: DatabaseConfig;
  /** Folder of the service's migrations. */
  readonly migrations: URL;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'pool'>;
  /** Writes the demo data; called once for each database, when DEMO_DATA asks for it. */
  readonly demoData: (tx: Queries) => Promise<void>;
}

/**
 * Opens the database of a service as its configuration says: migrated, with demo data where wanted, closed at shutdown.
 * @throws StartupError when it cannot be had
 */
export async function openServiceDatabase(options: ServiceDatabaseOptions): Promise<Database> {
  const { config, logger, service } = options;
  const database =
    config.DATABASE_URL === undefined
      ? await openEmbedded(options)
      : await openServer(options, config.DATABASE_URL);
  if (config.DEMO_DATA && (await loadOnce(database, `${service} demo data`, options.demoData))) {
    logger.info('demo data loaded');
  }
  return database;
}

async function openServer(
  { config, migrations, logger, lifecycle, metrics }: ServiceDatabaseOptions,
  url: string,
): Promise<Database> {
  const connectTimeoutMs = config.DATABASE_CONNECT_TIMEOUT_MS;
  await migratePostgres(url, { folder: migrations, apply: config.MIGRATE_ON_START, connectTimeoutMs });
  const database = openPostgres({
    url,
    poolSize: config.DATABASE_POOL_SIZE,
    connectTimeoutMs,
    statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
    logger,
  });
  lifecycle.onShutdown('database', () => database.close());
  metrics.pool('database', () => database.pool);
  return database;
}

async function openEmbedded({
  service,
  config,
  migrations,
  logger,
  lifecycle,
}: ServiceDatabaseOptions): Promise<Database> {
  if (config.NODE_ENV === 'production' && !config.ALLOW_EMBEDDED_DATABASE) {
    throw new StartupError(
      'DATABASE_URL must be set: the embedded database is for demonstration (ALLOW_EMBEDDED_DATABASE=true takes it all the same)',
      78,
    );
  }
  const folder = await acquireDataFolder(join(config.DATA_DIR, service));
  lifecycle.onShutdown('data folder', () => folder.release());
  const database = await openPglite(folder.path);
  lifecycle.onShutdown('database', () => database.close());
  await migratePglite(database.lite, { folder: migrations, apply: config.MIGRATE_ON_START });
  logger.warn(
    { folder: folder.path },
    'embedded database: for demonstration, a crash of the machine can lose data',
  );
  return database;
}
