import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PGlite, Results } from '@electric-sql/pglite';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { StartupError } from '../startup-error.ts';
import { isConnectionLost } from './database-errors.ts';
import { DatabaseUnavailableError } from './until-reachable.ts';

/** The connection that runs migrations. */
type Client = pg.ClientBase;

const table = 'schema_migrations';

export interface MigrationOptions {
  /** Folder with numbered SQL files. */
  readonly folder: URL;
  /** Whether to apply pending migrations; if false, they are an error. */
  readonly apply: boolean;
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
  options: MigrationOptions & { readonly connectTimeoutMs: number },
): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: options.connectTimeoutMs });
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
  try {
    await migrate(client, options);
  } finally {
    await client.end();
  }
}

/** Applies all pending migrations to PGlite. */
export async function migratePglite(lite: PGlite, options: MigrationOptions): Promise<void> {
  await migrate(asClient(lite), options);
}

async function migrate(client: Client, { folder, apply }: MigrationOptions): Promise<void> {
  if (!apply) return requireNothingPending(client, folder);
  try {
    while (await applyNext(client, folder));
  } catch (error) {
    // The single connection of PGlite would otherwise stay in the transaction.
    const connectionLost = await client.query('rollback').then(() => false, isConnectionLost);
    if (error instanceof StartupError) throw error;
    const failedMigration = await readState(client, folder).then(
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

/**
 * Applies the first pending migration in its own transaction. Returns false if there is none.
 *
 * Uses an advisory lock of the transaction instead of the runner's session lock, because a pooler can run each
 * transaction in another session. The lock ends with the transaction, so each migration acquires it again and reads
 * again what is pending.
 * @throws StartupError if a later migration is already applied
 */
async function applyNext(client: Client, folder: URL): Promise<boolean> {
  await client.query('begin');
  await client.query(`select pg_advisory_xact_lock(${PG_MIGRATE_LOCK_ID})`);
  const { applied, pending } = await readState(client, folder);
  const [next] = pending;
  if (next === undefined) {
    await client.query('commit');
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

async function requireNothingPending(client: Client, folder: URL): Promise<void> {
  const { pending } = await readState(client, folder);
  if (pending.length === 0) return;
  throw new StartupError(
    `pending migrations: ${pending.join(', ')}. Run the migrate command, or set MIGRATE_ON_START=true`,
    78,
  );
}

/** Returns the names of applied and pending migrations, sorted. */
async function readState(
  client: Client,
  folder: URL,
): Promise<{ readonly applied: readonly string[]; readonly pending: readonly string[] }> {
  const applied = await findApplied(client);
  const files = await readdir(folder);
  const names = files.filter((file) => file.endsWith('.sql')).map((file) => basename(file, '.sql'));
  return { applied, pending: names.filter((name) => !applied.includes(name)).sort() };
}

async function findApplied(client: Client): Promise<string[]> {
  const { rows } = await client.query(`select to_regclass('${table}') is not null as migrated`);
  if (!rows[0]?.migrated) return [];
  const applied = await client.query(`select name from ${table}`);
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
