import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { PGlite, Results } from '@electric-sql/pglite';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { StartupError } from '../startup-error.ts';
import { isConnectionLost } from './database-errors.ts';
import { DatabaseUnavailableError } from './until-reachable.ts';

/** The connection that runs migrations. */
type Client = pg.ClientBase;

/** Runs a statement that takes milliseconds. */
type BriefQuery = (text: string) => Promise<Pick<pg.QueryResult, 'rows'>>;

const table = 'schema_migrations';

export interface MigrationOptions {
  /** Folder with numbered SQL files. */
  readonly folder: URL;
  /** Whether to apply pending migrations; if false, they are an error. */
  readonly apply: boolean;
}

export interface PostgresMigrationOptions extends MigrationOptions {
  readonly connectTimeoutMs: number;
  /**
   * Milliseconds without a response after which the connection counts as dead; 10,000 by default. Does not apply to migrations, which may
   * take any time.
   */
  readonly responseTimeoutMs?: number;
  /**
   * Milliseconds without a statement after which the server ends the transaction, and with it the lock, of a process that is suspended;
   * 30,000 by default.
   */
  readonly maxIdleMs?: number;
}

/**
 * Applies all pending migrations to PostgreSQL. Replicas that start together wait for each other, so each migration is
 * applied once.
 * @throws DatabaseUnavailableError if the database cannot be reached or the connection breaks; the current migration is
 * rolled back
 * @throws StartupError if a migration fails (it is rolled back) or, without `apply`, is pending
 */
export async function migratePostgres(
  url: string,
  { connectTimeoutMs, responseTimeoutMs = 10_000, maxIdleMs = 30_000, ...options }: PostgresMigrationOptions,
): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  // A broken idle connection is reported by the next query.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    // If the server rejects the login (unknown user or database), a retry cannot succeed.
    const ErrorType =
      error instanceof pg.DatabaseError && !isConnectionLost(error) ? StartupError : DatabaseUnavailableError;
    throw new ErrorType(
      `the database cannot be reached: ${(error as Error).message || (error as NodeJS.ErrnoException).code}`,
    );
  }
  // The types of pg lack the timeout of a single query.
  const query: BriefQuery = (text) =>
    client.query({ text, query_timeout: responseTimeoutMs } as pg.QueryConfig);
  const begin = () => query(`begin; set local idle_in_transaction_session_timeout = ${maxIdleMs}`);
  try {
    await migrate({ client, query, begin }, options);
  } finally {
    // Not awaited, because a server that stopped responding does not confirm it.
    client.end().catch(() => undefined);
  }
}

/** Applies all pending migrations to PGlite. */
export async function migratePglite(lite: PGlite, options: MigrationOptions): Promise<void> {
  const client = asClient(lite);
  const query: BriefQuery = (text) => client.query(text);
  await migrate({ client, query, begin: () => query('begin') }, options);
}

interface Connection {
  readonly client: Client;
  readonly query: BriefQuery;
  /** Begins a transaction. */
  begin(): Promise<unknown>;
}

async function migrate(connection: Connection, { folder, apply }: MigrationOptions): Promise<void> {
  const { query } = connection;
  if (!apply) return requireNothingPending(query, folder);
  try {
    while (await applyNext(connection, folder));
  } catch (error) {
    // The single connection of PGlite would otherwise stay in the transaction.
    const connectionLost = await query('rollback').then(() => false, isConnectionLost);
    if (error instanceof StartupError) throw error;
    const failedMigration = connectionLost
      ? undefined
      : await readState(query, folder).then(
          ({ pending }) => pending[0],
          () => undefined,
        );
    const subject = failedMigration === undefined ? 'a migration' : `migration ${failedMigration}`;
    // The runner replaces some driver errors by its own; the result of the rollback is reliable.
    const ErrorType = connectionLost || isConnectionLost(error) ? DatabaseUnavailableError : StartupError;
    throw new ErrorType(`${subject} failed and was rolled back: ${(error as Error).message}`, 1, {
      cause: error,
    });
  }
}

/** Milliseconds between two attempts to acquire the lock of the migrations. */
const lockPollMs = 50;

/**
 * Applies the first pending migration in its own transaction, or waits a moment for the replica that applies one. Returns false if there
 * is none.
 *
 * Uses an advisory lock of the transaction instead of the runner's session lock, because a pooler can run each
 * transaction in another session. The lock ends with the transaction, so each migration acquires it again and reads
 * again what is pending. The lock is polled, because a statement that waits cannot be told from a dead connection.
 * @throws StartupError if a later migration is already applied
 */
async function applyNext({ client, query, begin }: Connection, folder: URL): Promise<boolean> {
  await begin();
  const { rows } = await query(`select pg_try_advisory_xact_lock(${PG_MIGRATE_LOCK_ID}) as acquired`);
  if (rows[0]?.acquired !== true) {
    await query('rollback');
    await wait(lockPollMs);
    return true;
  }
  const { applied, pending } = await readState(query, folder);
  const [next] = pending;
  if (next === undefined) {
    await query('commit');
    return false;
  }
  const latest = applied.at(-1);
  if (latest !== undefined && latest > next) {
    throw new StartupError(
      `migration ${next} is pending, but the later migration ${latest} is applied. Give ${next} the next free number`,
      78,
    );
  }
  // The runner commits this transaction; its own `begin` has no effect inside.
  await runner({
    dbClient: client,
    dir: fileURLToPath(folder),
    direction: 'up',
    count: 1,
    migrationsTable: table,
    noLock: true,
    // The runner sorts by transaction start time, which can differ from the order of the lock.
    checkOrder: false,
    log: () => undefined,
  });
  return true;
}

async function requireNothingPending(query: BriefQuery, folder: URL): Promise<void> {
  const { pending } = await readState(query, folder).catch((error: unknown) => {
    if (!isConnectionLost(error)) throw error;
    throw new DatabaseUnavailableError(`the database cannot be reached: ${(error as Error).message}`);
  });
  if (pending.length === 0) return;
  throw new StartupError(
    `pending migrations: ${pending.join(', ')}. Run the migrate command, or set MIGRATE_ON_START=true`,
    78,
  );
}

/** Returns the names of applied and pending migrations, sorted. */
async function readState(
  query: BriefQuery,
  folder: URL,
): Promise<{ readonly applied: readonly string[]; readonly pending: readonly string[] }> {
  const applied = await findApplied(query);
  const files = await readdir(folder);
  const names = files.filter((file) => file.endsWith('.sql')).map((file) => basename(file, '.sql'));
  return { applied, pending: names.filter((name) => !applied.includes(name)).sort() };
}

async function findApplied(query: BriefQuery): Promise<string[]> {
  const { rows } = await query(`select to_regclass('${table}') is not null as migrated`);
  if (!rows[0]?.migrated) return [];
  const applied = await query(`select name from ${table}`);
  return applied.rows.map(({ name }) => name).sort();
}

/**
 * Adapts PGlite to the parts of the pg client that node-pg-migrate uses. PGlite supports parameters only in single
 * statements.
 */
function asClient(lite: PGlite): Client {
  async function query(statement: string | { text: string; values?: unknown[] }, values?: unknown[]) {
    if (typeof statement !== 'string') return withCount(await lite.query(statement.text, statement.values));
    if (values !== undefined) return withCount(await lite.query(statement, values));
    return withCount((await lite.exec(statement)).at(-1));
  }
  return { query } as unknown as Client;
}

function withCount(results: Results | undefined): Pick<pg.QueryResult, 'rows' | 'rowCount'> {
  const rows = (results?.rows ?? []) as pg.QueryResultRow[];
  return { rows, rowCount: rows.length };
}
