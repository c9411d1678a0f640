import { join } from 'node:path';
import type { z } from 'zod';
import type { databaseVariables } from '../config/common-variables.ts';
import { Failure } from '../failure.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { StartupError } from '../startup-error.ts';
import { type ConstraintFailures, commonConstraints, mapConstraints } from './constraints.ts';
import { acquireDataFolder } from './data-folder.ts';
import type { Database, Queries } from './database.ts';
import { driverError } from './database-errors.ts';
import { databaseUrl } from './database-url.ts';
import { loadOnce } from './load-once.ts';
import { migratePglite, migratePostgres } from './migrations.ts';
import { openPglite, type PgliteDatabase } from './pglite-database.ts';
import { openPostgres } from './postgres-database.ts';
import { DatabaseAwayError, untilReachable } from './until-reachable.ts';

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
  /** Applies those that are pending; default: what MIGRATE_ON_START says. */
  readonly migrate?: boolean;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'pool'>;
  /** What the violation of each constraint of the schema is to callers; those of the tables that every service has by default. */
  readonly constraints?: ConstraintFailures;
  /** Writes the demo data; called once for each database, when DEMO_DATA asks for it. */
  readonly demoData: (tx: Queries) => Promise<void>;
}

/**
 * Opens the database of a service as its configuration says: migrated, with demo data where wanted, closed at shutdown.
 * A server that is away is waited for while there is something to migrate; a service whose migrations are applied elsewhere
 * starts without it. When the database cannot be had, what was opened on the way is closed again.
 * @throws StartupError when it cannot be had
 */
export async function openServiceDatabase(options: ServiceDatabaseOptions): Promise<Database> {
  const { config, logger, service } = options;
  const closes: (() => Promise<void>)[] = [];
  const lifecycle: ServiceDatabaseOptions['lifecycle'] = {
    onShutdown(name, close) {
      let closed: Promise<void> | undefined;
      const closeOnce = (): Promise<void> => {
        closed ??= Promise.resolve().then(close);
        return closed;
      };
      closes.unshift(closeOnce);
      options.lifecycle.onShutdown(name, closeOnce);
    },
  };
  try {
    const url = databaseUrl(config);
    const database =
      url === undefined
        ? await openEmbedded({ ...options, lifecycle })
        : await openServer({ ...options, lifecycle }, url);
    if (config.DEMO_DATA && (await loadOnce(database, `${service} demo data`, options.demoData))) {
      logger.info('demo data loaded');
    }
    return mapConstraints(database, options.constraints ?? commonConstraints);
  } catch (error) {
    for (const close of closes) await close().catch(() => undefined);
    if (!(error instanceof Failure)) throw error;
    throw new StartupError(`the database cannot be used: ${driverError(error).message}`, 1, { cause: error });
  }
}

async function openServer(
  { config, migrate: apply = config.MIGRATE_ON_START, migrations, ...options }: ServiceDatabaseOptions,
  url: string,
): Promise<Database> {
  const { logger, lifecycle, metrics } = options;
  const connectTimeoutMs = config.DATABASE_CONNECT_TIMEOUT_MS;
  const migrate = () => migratePostgres(url, { folder: migrations, apply, connectTimeoutMs });
  if (apply) {
    const stopping = new AbortController();
    lifecycle.onShutdown('waiting for the database', () => stopping.abort());
    await untilReachable(migrate, { logger, signal: stopping.signal });
  } else {
    await migrate().catch((error: unknown) => {
      if (!(error instanceof DatabaseAwayError)) throw error;
      logger.warn(`${error.message}; whether migrations are pending is not known`);
    });
  }
  const database = openPostgres({
    url,
    poolSize: config.DATABASE_POOL_SIZE,
    connectTimeoutMs,
    statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
    preparedStatements: config.DATABASE_PREPARED_STATEMENTS,
    logger,
  });
  lifecycle.onShutdown('database', () => database.close());
  metrics.pool('database', () => database.pool);
  return database;
}

async function openEmbedded({
  service,
  config,
  migrate: apply = config.MIGRATE_ON_START,
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
  const database = await openFiles(folder.path);
  lifecycle.onShutdown('database', () => database.close());
  await migratePglite(database.lite, { folder: migrations, apply });
  logger.warn(
    { folder: folder.path },
    'embedded database: for demonstration, a crash of the machine can lose data',
  );
  return database;
}

/** @throws StartupError, for what PGlite throws has often neither a name nor a message */
async function openFiles(path: string): Promise<PgliteDatabase> {
  try {
    return await openPglite(path);
  } catch (cause) {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    throw new StartupError(
      `the embedded database in ${path} cannot be opened${reason}. If its files are damaged, start anew with npm run reset`,
      1,
      { cause },
    );
  }
}
