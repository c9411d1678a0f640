import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PGlite, Results } from '@electric-sql/pglite';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { StartupError } from '../startup-error.ts';
import { isConnectionLost } from './database-errors.ts';
import { DatabaseAwayError } from './until-reachable.ts';

/** A connection that migrations run on. */
type Client = pg.ClientBase;

const table = 'schema_migrations';

export interface MigrationOptions {
  /** Folder of numbered SQL files. */
  readonly folder: URL;
  /** Applies what is pending; when false, pending migrations are an error. */
  readonly apply: boolean;
}

/**
 * Brings PostgreSQL to the newest migration. Replicas that start together wait for one another: each migration is
 * applied once.
 * @throws DatabaseAwayError when the database cannot be reached, or the connection to it breaks (all is undone)
 * @throws StartupError when a migration fails (it is undone), or one is pending
 */
export async function migratePostgres(
  url: string,
  options: MigrationOptions & { readonly connectTimeoutMs: number },
): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: options.connectTimeoutMs });
  // What breaks while nobody waits for an answer shows at the next query.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    // A server that answers and refuses (no such user, no such database) will do so again.
    const Away =
      error instanceof pg.DatabaseError && !isConnectionLost(error) ? StartupError : DatabaseAwayError;
    throw new Away(
      `the database cannot be reached: ${(error as Error).message || (error as NodeJS.ErrnoException).code}`,
    );
  }
  try {
    await migrate(client, options);
  } finally {
    await client.end();
  }
}

/** Brings PGlite to the newest migration. */
export async function migratePglite(lite: PGlite, options: MigrationOptions): Promise<void> {
  await migrate(asClient(lite), options);
}

async function migrate(client: Client, { folder, apply }: MigrationOptions): Promise<void> {
  if (!apply) return requireNothingPending(client, folder);
  try {
    while (await applyNext(client, folder));
  } catch (error) {
    // PGlite, whose one connection lives on, would stay in a transaction that is left open.
    const lost = await client.query('rollback').then(() => false, isConnectionLost);
    if (error instanceof StartupError) throw error;
    const failed = await readState(client, folder).then(
      ({ pending }) => pending[0],
      () => undefined,
    );
    const what = failed === undefined ? 'a migration' : `migration ${failed}`;
    // The runner makes errors of its own of some that the driver has thrown; the connection itself knows better.
    const Away = lost || isConnectionLost(error) ? DatabaseAwayError : StartupError;
    throw new Away(`${what} failed and was undone: ${(error as Error).message}`, 1, { cause: error });
  }
}

/**
 * Applies the first pending migration in a transaction of its own, and returns false when there is none.
 *
 * The advisory lock belongs to the transaction, where the runner's own lock belongs to the session: a pooler gives each
 * transaction another session. As the lock ends with the transaction, each migration takes it again and looks again for what
 * is pending: another replica may have applied some of them meanwhile.
 * @throws StartupError when that migration has a lower number than one that is applied: it would run on tables it was not written for
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
  const newest = applied.at(-1);
  if (newest !== undefined && newest > next) {
    throw new StartupError(
      `migration ${next} is not applied, and ${newest}, which comes after it, is; give the new one the next free number`,
      78,
    );
  }
  // Commits this transaction: what the runner begins within it is no transaction of its own.
  await runner({
    dbClient: client,
    dir: fileURLToPath(folder),
    direction: 'up',
    count: 1,
    migrationsTable: table,
    noLock: true,
    // The runner orders by the time at which a transaction began, which is not the order in which replicas got the lock.
    checkOrder: false,
    log: () => undefined,
  });
  return true;
}

async function requireNothingPending(client: Client, folder: URL): Promise<void> {
  const { pending } = await readState(client, folder);
  if (pending.length === 0) return;
  throw new StartupError(
    `pending migrations: ${pending.join(', ')}; apply them first, or set MIGRATE_ON_START=true`,
    78,
  );
}

/** Names of the migrations that are applied and of those that are pending, in their order. */
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

/** As much of pg's client as node-pg-migrate uses, on PGlite: its protocol takes parameters only in single statements. */
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
