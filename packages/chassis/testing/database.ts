import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe } from 'node:test';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import type { Database, Queries } from '../src/database/database.ts';
import { driverError } from '../src/database/database-errors.ts';
import { rootErrorOf, settleDeferred } from '../src/database/deferred-statements.ts';
import { migratePostgres } from '../src/database/migrations.ts';
import { openPglite } from '../src/database/pglite-database.ts';
import { openPostgres } from '../src/database/postgres-database.ts';
import { rowsOf } from '../src/database/rows-of.ts';
import { silentLogger } from './observed.ts';
import { migratedTemplate } from './pglite-template.ts';
import { postgres } from './postgres.ts';
import { describeIf } from './server.ts';
import { eventually } from './wait.ts';

/** Opens an empty migrated database, which is closed at the end of the suite. */
export type OpenDatabase = () => Promise<Database>;

export interface EngineSuiteOptions {
  /** Folder of migrations to apply; none by default. */
  readonly migrations?: URL;
  /** Engines to run on; both by default. */
  readonly engines?: readonly Database['engine'][];
}

/**
 * Runs a suite on PGlite and on PostgreSQL at TEST_DATABASE_URL. Without a server, PostgreSQL is reported as a skipped
 * test, or fails with REQUIRE_POSTGRES=1.
 */
export function describeOnEachEngine(
  title: string,
  { migrations, engines = ['pglite', 'postgres'] }: EngineSuiteOptions,
  suite: (openDatabase: OpenDatabase) => void,
): void {
  if (engines.includes('pglite')) {
    describe(`${title} (PGlite)`, () => withClosing(suite, () => openTestPglite(migrations)));
  }
  if (!engines.includes('postgres')) return;
  const url = process.env.TEST_DATABASE_URL;
  describeIf(url !== undefined, postgres, `${title} (PostgreSQL)`, () =>
    suiteOnPostgres(suite, url as string, migrations),
  );
}

/** Opens a migrated in-memory PGlite. */
export function openTestPglite(migrations?: URL): Promise<Database> {
  return openPglite(undefined, () => migratedTemplate(migrations));
}

/**
 * Returns how often a test repeats concurrent transactions: `runs` times on PostgreSQL. PGlite runs transactions one after the other, so a
 * few runs show the same as many.
 */
export function concurrentRuns({ engine }: Database, runs: number): number {
  return engine === 'postgres' ? runs : Math.ceil(runs / 5);
}

/** A database with a counter of concurrent transactions. */
export interface WriteCountingDatabase {
  readonly database: Database;
  /** Maximum number of concurrent transactions so far. */
  readonly maxWrites: number;
}

/** Counts concurrent transactions. Each of them uses a connection. */
export function countWrites(database: Database): WriteCountingDatabase {
  let [inProgress, mostWrites] = [0, 0];
  return {
    database: {
      ...database,
      async transaction(work) {
        inProgress += 1;
        mostWrites = Math.max(mostWrites, inProgress);
        return database.transaction(work).finally(() => {
          inProgress -= 1;
        });
      },
    },
    get maxWrites() {
      return mostWrites;
    },
  };
}

/** A database with a counter of deadlocks. */
export interface CountingDatabase {
  readonly database: Database;
  readonly deadlocks: number;
}

/**
 * Counts deadlocks. `Database.transaction` retries after a deadlock, so a caller only notices the second until
 * PostgreSQL detects it.
 */
export function countDeadlocks(database: Database): CountingDatabase {
  let deadlocks = 0;
  const countingWork = <T>(work: (db: Queries) => Promise<T>) => {
    return async (db: Queries): Promise<T> => {
      try {
        const result = await work(db);
        await settleDeferred(db);
        return result;
      } catch (error) {
        const { code } = driverError(await rootErrorOf(db, error));
        if (code === '40P01') deadlocks += 1;
        throw error;
      }
    };
  };
  return {
    database: {
      ...database,
      query: (work) => database.query(countingWork(work)),
      transaction: (work) => database.transaction(countingWork(work)),
    },
    get deadlocks() {
      return deadlocks;
    },
  };
}

/** An operation with its kind for assertion messages. */
type NamedWork = readonly [kind: string, work: Promise<unknown>];

/**
 * Waits for concurrent operations. Some may fail, for example an update of a deleted row, but of each kind at least one
 * must succeed.
 * @param expected throws if the error is not expected
 * @throws AssertionError if all operations of one kind failed
 */
export async function awaitOutcomes(
  works: readonly NamedWork[],
  expected: (error: unknown) => void,
): Promise<void> {
  const outcomes = await Promise.allSettled(works.map(([, work]) => work));
  const succeeded = new Map(works.map(([kind]) => [kind, 0]));
  for (const [index, [kind]] of works.entries()) {
    const outcome = outcomes[index];
    if (outcome?.status === 'rejected') expected(outcome.reason);
    else succeeded.set(kind, (succeeded.get(kind) ?? 0) + 1);
  }
  for (const [kind, count] of succeeded) assert.ok(count > 0, `every ${kind} failed`);
}

/** Waits until `count` transactions of the database wait for a lock. */
export async function untilWaiting(database: Database, count: number): Promise<void> {
  await eventually(
    async () => {
      const [row] = await database.query((db) =>
        rowsOf<{ n: number }>(
          db,
          sql`select count(*) as n from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`,
        ),
      );
      return row?.n === count;
    },
    `${count} transactions that wait for a lock`,
    10_000,
  );
}

/** Returns the URL of a database on PostgreSQL, for another connection. */
export async function urlOf(database: Database): Promise<string> {
  const rows = await database.query((db) =>
    rowsOf<{ name: string }>(db, sql`select current_database() as name`),
  );
  const url = new URL(process.env.TEST_DATABASE_URL ?? '');
  url.pathname = `/${rows[0]?.name}`;
  return url.href;
}

function withClosing(suite: (open: OpenDatabase) => void, open: OpenDatabase): void {
  const opened: Database[] = [];
  after(async () => {
    for (const database of opened) await database.close();
  });
  suite(async () => {
    const database = await open();
    opened.push(database);
    return database;
  });
}

/** An empty database on a server. */
export interface TestDatabase {
  readonly url: string;
  /** Drops the database and disconnects its clients. */
  drop(): Promise<void>;
}

/** Creates an empty database on the server at `serverUrl`. */
export async function createTestDatabase(serverUrl: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  async function execute(statement: string): Promise<void> {
    const client = new pg.Client({ connectionString: serverUrl });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  }
  await execute(`create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => execute(`drop database ${name} with (force)`) };
}

/** Creates a separate database for each `open` and drops all of them at the end. */
function suiteOnPostgres(
  suite: (open: OpenDatabase) => void,
  serverUrl: string,
  migrations: URL | undefined,
): void {
  const created: TestDatabase[] = [];
  withClosing(suite, async () => {
    const testDatabase = await createTestDatabase(serverUrl);
    created.push(testDatabase);
    const { url } = testDatabase;
    if (migrations !== undefined)
      await migratePostgres(url, { folder: migrations, apply: true, connectTimeoutMs: 5000 });
    return openPostgres({
      url,
      poolSize: 32,
      connectTimeoutMs: 5000,
      statementTimeoutMs: 30_000,
      preparedStatements: true,
      logger: silentLogger(),
    });
  });
  after(async () => {
    for (const database of created) await database.drop();
  });
}
