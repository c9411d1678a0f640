import { join } from 'node:path';
import type { z } from 'zod';
import { auditingAfterCommit } from '../audit/audit-after-commit.ts';
import type { AuditLog } from '../audit/audit-log.ts';
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
import { observeDatabase } from './observed-database.ts';
import { openPglite, type PgliteDatabase } from './pglite-database.ts';
import { openPostgres } from './postgres-database.ts';
import { DatabaseUnavailableError, untilReachable } from './until-reachable.ts';

/** The parsed variables of `databaseVariables`. */
export type DatabaseConfig = z.output<z.ZodObject<ReturnType<typeof databaseVariables>>> & {
  readonly NODE_ENV?: string | undefined;
};

/** The schema of a service's database. */
export interface DatabaseSchema {
  /** Folder of the migrations. */
  readonly migrations: URL;
  /** Failures of constraint violations; those of the common tables by default. */
  readonly constraints?: ConstraintFailures;
  /** Writes the demo data. Called once per database if DEMO_DATA is set; none by default. */
  readonly demoData?: ((tx: Queries) => Promise<void>) | undefined;
}

export interface ServiceDatabaseOptions extends DatabaseSchema {
  /** Name of the service; also of its data folder and demo data. */
  readonly service: string;
  readonly config: DatabaseConfig;
  /** Whether to apply pending migrations; MIGRATE_ON_START by default. */
  readonly migrate?: boolean;
  /** Whether an unreachable server is an error if no migrations are to be applied; false by default. */
  readonly requireReachable?: boolean;
  readonly logger: Logger;
  /** Gets the lines of `auditAfterCommit`. */
  readonly audit: AuditLog;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'pool' | 'databaseOperation'>;
}

/**
 * Opens the database of a service: applies migrations, loads demo data if configured, and closes it at shutdown.
 * If migrations are to be applied, waits until the server is reachable; otherwise the service starts without it. On an
 * error, closes everything that was opened.
 * @throws StartupError if the database cannot be opened
 */
export async function openServiceDatabase(options: ServiceDatabaseOptions): Promise<Database> {
  const { config, logger, service } = options;
  const closeCallbacks: (() => Promise<void>)[] = [];
  const lifecycle: ServiceDatabaseOptions['lifecycle'] = {
    onShutdown(name, close) {
      let closed: Promise<void> | undefined;
      const closeOnce = (): Promise<void> => {
        closed ??= Promise.resolve().then(close);
        return closed;
      };
      closeCallbacks.unshift(closeOnce);
      options.lifecycle.onShutdown(name, closeOnce);
    },
  };
  try {
    const url = databaseUrl(config);
    const database =
      url === undefined
        ? await openEmbedded({ ...options, lifecycle })
        : await openServer({ ...options, lifecycle }, url);
    if (config.DEMO_DATA && options.demoData !== undefined) {
      if (await loadOnce(database, `${service} demo data`, options.demoData)) logger.info('demo data loaded');
    }
    const mapped = mapConstraints(database, options.constraints ?? commonConstraints);
    return auditingAfterCommit(observeDatabase(mapped, options.metrics, logger), options.audit);
  } catch (error) {
    for (const close of closeCallbacks) await close().catch(() => undefined);
    if (!(error instanceof Failure)) throw error;
    throw new StartupError(`the database cannot be used: ${driverError(error).message}`, 1, { cause: error });
  }
}

/**
 * Opens the database for a command on the data of a service. Neither applies migrations nor loads demo data.
 * @throws StartupError if migrations are pending or the database cannot be opened
 */
export function openCommandDatabase(
  options: Omit<ServiceDatabaseOptions, 'migrate' | 'requireReachable' | 'demoData'>,
): Promise<Database> {
  return openServiceDatabase({ ...options, migrate: false, requireReachable: true, demoData: undefined });
}

async function openServer(
  {
    config,
    migrate: applyMigrations = config.MIGRATE_ON_START,
    requireReachable = false,
    migrations,
    ...options
  }: ServiceDatabaseOptions,
  url: string,
): Promise<Database> {
  const { logger, lifecycle, metrics } = options;
  const connectTimeoutMs = config.DATABASE_CONNECT_TIMEOUT_MS;
  const migrate = () =>
    migratePostgres(url, { folder: migrations, apply: applyMigrations, connectTimeoutMs });
  if (applyMigrations) {
    const stopping = new AbortController();
    lifecycle.onShutdown('waiting for the database', () => stopping.abort());
    await untilReachable(migrate, { logger, signal: stopping.signal });
  } else {
    await migrate().catch((error: unknown) => {
      if (requireReachable || !(error instanceof DatabaseUnavailableError)) throw error;
      logger.warn(`${error.message}; pending migrations unknown`);
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
  migrate: applyMigrations = config.MIGRATE_ON_START,
  migrations,
  logger,
  lifecycle,
}: ServiceDatabaseOptions): Promise<Database> {
  if (config.NODE_ENV === 'production' && !config.ALLOW_EMBEDDED_DATABASE) {
    throw new StartupError(
      'DATABASE_URL must be set in production. To use the embedded database anyway, set ALLOW_EMBEDDED_DATABASE=true',
      78,
    );
  }
  const path = join(config.DATA_DIR, service);
  const folder = await acquireDataFolder(path);
  lifecycle.onShutdown('data folder', () => folder.release());
  const database = await folder.openFiles(openFolder);
  lifecycle.onShutdown('database', () => database.close());
  await migratePglite(database.lite, { folder: migrations, apply: applyMigrations });
  logger.warn({ folder: path }, 'embedded database in use, not crash-safe');
  return database;
}

/** @throws StartupError, because errors of PGlite often have neither a name nor a message */
async function openFolder(path: string): Promise<PgliteDatabase> {
  try {
    return await openPglite(path);
  } catch (cause) {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    throw new StartupError(
      `the embedded database in ${path} cannot be opened${reason}. If its files are damaged, delete the data with npm run reset`,
      1,
      { cause },
    );
  }
}
