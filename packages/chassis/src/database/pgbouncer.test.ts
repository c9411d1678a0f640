import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { Deadline } from '../deadline.ts';
import { once } from '../idempotency/idempotency.ts';
import { runInContext } from '../request-context.ts';
import { isFailure } from '../testing.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';
import { createTestDatabase, describeOnEachEngine, type TestDatabase } from './testing.ts';
import {
  describeOnPgbouncer,
  type PoolMode,
  startPgbouncer,
  type TestPgbouncer,
} from './testing-pgbouncer.ts';
import { connectPostgres } from './testing-postgres.ts';
import { openAsService } from './testing-service-database.ts';

const isUnavailable = isFailure('database-unavailable');

const migration = `
  create table users (name text);
  create table idempotency_keys (
    caller text not null, method text not null, path text not null, key text not null, fingerprint text not null,
    answer json, created_at timestamptz not null default now(), primary key (caller, method, path, key));`;

// PgBouncer refuses parameters of a connection that it does not track ("unsupported startup parameter"), and in transaction mode hands
// each transaction another connection (https://www.pgbouncer.org/features.html).
await describeOnPgbouncer('a service behind a pooler', () => {
  for (const mode of ['session', 'transaction'] as const)
    describeOnEachEngine(`in ${mode} mode`, { engines: ['postgres'] }, () => suite(mode));
});

function suite(mode: PoolMode): void {
  let pgbouncer: TestPgbouncer;
  let own: TestDatabase;
  const services: Awaited<ReturnType<typeof openAsService>>[] = [];

  before(async () => {
    const serverUrl = process.env.TEST_DATABASE_URL ?? '';
    own = await createTestDatabase(serverUrl);
    pgbouncer = await startPgbouncer(serverUrl, mode);
  });
  afterEach(async () => {
    for (const { lifecycle } of services.splice(0)) await lifecycle.shutdown();
  });
  after(async () => {
    await pgbouncer.stop();
    await own.drop();
  });

  async function openService(): Promise<Database> {
    const service = await openAsService({
      env: {
        DATABASE_URL: pgbouncer.urlOf(own.url),
        ...{ DATABASE_STATEMENT_TIMEOUT_MS: '300', DEMO_DATA: 'true' },
        // In session mode a client keeps its connection, of which PgBouncer has 20.
        ...(mode === 'session' && { DATABASE_POOL_SIZE: '5' }),
      },
      migration,
    });
    services.push(service);
    return service.opened;
  }

  /** What the connections that the pooler has open are set to for whatever client gets them next. */
  async function settingsOfOthers(): Promise<string[]> {
    const client = await connectPostgres(pgbouncer.urlOf(own.url));
    const found: string[] = [];
    for (let query = 0; query < 10; query += 1) {
      const rows = await client.rows<{ statement: string; idle: string }>(
        `select current_setting('statement_timeout') as statement,
          current_setting('idle_in_transaction_session_timeout') as idle`,
      );
      found.push(...rows.flatMap(({ statement, idle }) => [statement, idle]));
    }
    await client.close();
    return [...new Set(found)];
  }

  it('migrates once with replicas that start together, and leaves no lock behind', async () => {
    const databases = await Promise.all([1, 2, 3, 4].map(openService));
    const names = await Promise.all(
      databases.map((database) => database.read((db) => rowsOf(db, sql`select name from users`))),
    );
    for (const rows of names) assert.deepEqual(rows, [{ name: 'Alice' }]);
    const server = await connectPostgres(own.url);
    const locks = await server.rows(
      `select 1 from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())`,
    );
    assert.deepEqual(locks, []);
    await server.close();
  });

  it('reads and writes concurrently over more clients than there are connections', async () => {
    const databases = await Promise.all([1, 2, 3].map(openService));
    await Promise.all(
      Array.from({ length: 90 }, async (_, n) => {
        const database = databases[n % 3] as Database;
        await database.write((tx) => tx.execute(sql`insert into users values (${`user ${n}`})`));
        const rows = await database.read((db) =>
          rowsOf(db, sql`select 1 from users where name = ${`user ${n}`}`),
        );
        assert.equal(rows.length, 1);
      }),
    );
    const failing = databases[0]?.write(async (tx) => {
      await tx.execute(sql`insert into users values ('rolled back')`);
      throw new Error('no');
    });
    await assert.rejects(failing ?? Promise.resolve(), /no/);
    const rows = await databases[1]?.read((db) =>
      rowsOf(db, sql`select 1 from users where name = 'rolled back'`),
    );
    assert.deepEqual(rows, []);
  });

  it('ends statements that take too long, of reads and of transactions, and abandoned transactions', async () => {
    const database = await openService();
    const startedAt = performance.now();
    const sleep = sql`select pg_sleep(30)`;
    await assert.rejects(
      database.read((db) => db.execute(sleep)),
      isUnavailable,
    );
    await assert.rejects(
      database.write((tx) => tx.execute(sleep)),
      isUnavailable,
    );
    const abandoned = database.write(async (tx) => {
      await tx.execute(sql`update users set name = name`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await tx.execute(sql`select 1`);
    });
    await assert.rejects(abandoned);
    const hurried = runInContext({ correlationId: 'test', deadline: Deadline.after(50) }, () =>
      database.write((tx) => tx.execute(sleep)),
    );
    await assert.rejects(hurried, isUnavailable);
    assert.ok(performance.now() - startedAt < 10_000);
  });

  it('leaves no limit on the connections for other clients of the pooler', async () => {
    const database = await openService();
    await database.read((db) => db.execute(sql`select 1`));
    await runInContext({ correlationId: 'test', deadline: Deadline.after(100) }, () =>
      database.write((tx) => tx.execute(sql`select 1`)),
    );
    const keyed = { key: 'one', caller: 'x', method: 'POST', path: '/', body: {} };
    for (const replayed of [false, true])
      assert.equal((await once(database, keyed, async () => ({ body: 1 }))).replayed, replayed);
    assert.deepEqual(await settingsOfOthers(), ['0']);
  });
}
