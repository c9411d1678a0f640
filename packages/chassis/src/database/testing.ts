import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { silentLogger } from '../testing.ts';
import type { Database, Queries } from './database.ts';
import { driverError } from './database-errors.ts';
import { migratePglite, migratePostgres } from './migrations.ts';
import { openPglite } from './pglite-database.ts';
import { openPostgres } from './postgres-database.ts';
import { rowsOf } from './rows-of.ts';

/** Opens an empty, migrated database; it is closed when the suite ends. */
export type OpenDatabase = () => Promise<Database>;

export interface EngineSuiteOptions {
  /** Folder of migrations to apply; none by default. */
  readonly migrations?: URL;
  /** Engines to run on; both by default. */
  readonly engines?: readonly Database['engine'][];
}

/**
 * Runs one suite on PGlite and on PostgreSQL at TEST_DATABASE_URL. Where there is none the second is a skipped test
 * that says so; with REQUIRE_POSTGRES=1 it fails.
 */
export function describeOnEachEngine(
  title: string,
  { migrations, engines = ['pglite', 'postgres'] }: EngineSuiteOptions,
  suite: (open: OpenDatabase) => void,
): void {
  if (engines.includes('pglite')) {
    describe(`${title} (PGlite)`, () => withClosing(suite, () => openTestPglite(migrations)));
  }
  if (!engines.includes('postgres')) return;
  const url = process.env.TEST_DATABASE_URL;
  if (url !== undefined) {
    describe(`${title} (PostgreSQL)`, () => suiteOnPostgres(suite, url, migrations));
  } else if (process.env.REQUIRE_POSTGRES === '1') {
    it(`${title} (PostgreSQL)`, () => {
      throw new Error('REQUIRE_POSTGRES=1, but TEST_DATABASE_URL is not set');
    });
  } else {
    it(
      `${title} (PostgreSQL): skipped, no PostgreSQL was found on this machine`,
      { skip: true },
      () => undefined,
    );
  }
}

/** A migrated PGlite in memory. */
export async function openTestPglite(migrations?: URL): Promise<Database> {
  const database = await openPglite();
  if (migrations !== undefined) await migratePglite(database.lite, { folder: migrations, apply: true });
  return database;
}

/** A database whose concurrent writes a test counts. */
export interface WriteCountingDatabase {
  readonly database: Database;
  /** Writes in progress at once, at most, so far. */
  readonly mostWrites: number;
}

/** Counts how many writes are in progress at once: each of them uses a connection. */
export function countWrites(database: Database): WriteCountingDatabase {
  let [inUse, mostWrites] = [0, 0];
  return {
    database: {
      ...database,
      async write(work) {
        inUse += 1;
        mostWrites = Math.max(mostWrites, inUse);
        return database.write(work).finally(() => {
          inUse -= 1;
        });
      },
    },
    get mostWrites() {
      return mostWrites;
    },
  };
}

/** A database whose deadlocks a test counts. */
export interface CountingDatabase {
  readonly database: Database;
  readonly deadlocks: number;
}

/**
 * Counts the deadlocks of what uses a database: `Database.write` repeats a transaction that was the victim of one, so the caller sees
 * no more of it than the second that PostgreSQL takes to find it.
 */
export function countDeadlocks(database: Database): CountingDatabase {
  let deadlocks = 0;
  const counting = <T>(work: (db: Queries) => Promise<T>) => {
    return (db: Queries): Promise<T> =>
      work(db).catch((error: unknown) => {
        if (driverError(error).code === '40P01') deadlocks += 1;
        throw error;
      });
  };
  return {
    database: {
      ...database,
      read: (work) => database.read(counting(work)),
      write: (work) => database.write(counting(work)),
    },
    get deadlocks() {
      return deadlocks;
    },
  };
}

/** Work of one kind, as a message of a test names it. */
type NamedWork = readonly [kind: string, work: Promise<unknown>];

/**
 * Waits for all of what runs concurrently. Some of it may fail, such as a change of what was deleted just before; what all fails
 * has shown nothing.
 * @param expected throws for an error that no work may end with
 * @throws AssertionError when no work of one of the kinds succeeded
 */
export async function settle(works: readonly NamedWork[], expected: (error: unknown) => void): Promise<void> {
  const outcomes = await Promise.allSettled(works.map(([, work]) => work));
  const succeeded = new Map(works.map(([kind]) => [kind, 0]));
  for (const [index, [kind]] of works.entries()) {
    const outcome = outcomes[index];
    if (outcome?.status === 'rejected') expected(outcome.reason);
    else succeeded.set(kind, (succeeded.get(kind) ?? 0) + 1);
  }
  for (const [kind, count] of succeeded) assert.ok(count > 0, `every ${kind} failed`);
}

/** Waits until as many transactions on the database of a suite wait for another one to end. */
export async function untilWaiting(database: Database, count: number): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  for (;;) {
    const [row] = await database.read((db) =>
      rowsOf<{ n: number }>(
        db,
        sql`select count(*) as n from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`,
      ),
    );
    if (row?.n === count) return;
    if (performance.now() > giveUpAt) throw new Error(`${row?.n} transactions wait for a lock, not ${count}`);
  }
}

/** Where the database of a suite on PostgreSQL is, for a second way into it. */
export async function urlOf(database: Database): Promise<string> {
  const rows = await database.read((db) =>
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

/** An empty database of its own on a server. */
export interface TestDatabase {
  readonly url: string;
  /** Drops it, whoever is still connected. */
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

/** Each opened database is one of its own on the server, dropped at the end. */
function suiteOnPostgres(
  suite: (open: OpenDatabase) => void,
  serverUrl: string,
  migrations: URL | undefined,
): void {
  const created: TestDatabase[] = [];
  withClosing(suite, async () => {
    const own = await createTestDatabase(serverUrl);
    created.push(own);
    const { url } = own;
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
