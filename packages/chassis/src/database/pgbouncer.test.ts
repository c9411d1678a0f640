import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { createTestDatabase, describeOnEachEngine, type TestDatabase } from '../../testing/database.ts';
import { isFailure } from '../../testing/observed.ts';
import {
  describeOnPgbouncer,
  type PoolMode,
  startPgbouncer,
  type TestPgbouncer,
} from '../../testing/pgbouncer.ts';
import { connectPostgres } from '../../testing/postgres.ts';
import { openAsService } from '../../testing/service-database.ts';
import { Deadline } from '../deadline.ts';
import { createIdempotency } from '../idempotency/idempotency.ts';
import type { KeyedRequest } from '../idempotency/key-table.ts';
import { runInContext } from '../request-context.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';

const isUnavailable = isFailure('database-unavailable');

const migration = `
  create table users (name text);
  create table idempotency_keys (
    caller text not null, method text not null, path text not null, key text not null, fingerprint text not null,
    answer json, created_at timestamptz not null default now(), primary key (caller, method, path, key));`;

// PgBouncer rejects startup parameters that it does not track ("unsupported startup parameter"), and in transaction
// mode each transaction can get another connection (https://www.pgbouncer.org/features.html).
await describeOnPgbouncer('service behind PgBouncer', () => {
  for (const mode of ['session', 'transaction'] as const)
    describeOnEachEngine(`in ${mode} mode`, { engines: ['postgres'] }, () => suite(mode));
});

function suite(mode: PoolMode): void {
  let pgbouncer: TestPgbouncer;
  let testDatabase: TestDatabase;
  const services: Awaited<ReturnType<typeof openAsService>>[] = [];

  before(async () => {
    const serverUrl = process.env.TEST_DATABASE_URL ?? '';
    testDatabase = await createTestDatabase(serverUrl);
    pgbouncer = await startPgbouncer(serverUrl, mode);
  });
  afterEach(async () => {
    for (const { lifecycle } of services.splice(0)) await lifecycle.shutdown();
  });
  after(async () => {
    await pgbouncer.stop();
    await testDatabase.drop();
  });

  async function openService(): Promise<Database> {
    const service = await openAsService({
      env: {
        DATABASE_URL: pgbouncer.urlOf(testDatabase.url),
        DATABASE_STATEMENT_TIMEOUT_MS: '300',
        DEMO_DATA: 'true',
        // In session mode each client holds a server connection, of which PgBouncer has 20.
        ...(mode === 'session' && { DATABASE_POOL_SIZE: '5' }),
      },
      migration,
    });
    services.push(service);
    return service.opened;
  }

  /** Returns the settings that other clients get from the pooler. */
  async function sharedSettings(): Promise<string[]> {
    const client = await connectPostgres(pgbouncer.urlOf(testDatabase.url));
    const values: string[] = [];
    for (let query = 0; query < 10; query += 1) {
      const rows = await client.rows<{ statement: string; idle: string }>(
        `select current_setting('statement_timeout') as statement,
          current_setting('idle_in_transaction_session_timeout') as idle`,
      );
      values.push(...rows.flatMap(({ statement, idle }) => [statement, idle]));
    }
    await client.close();
    return [...new Set(values)];
  }

  it('applies migrations once if replicas start together, and leaves no lock', async () => {
    const databases = await Promise.all([1, 2, 3, 4].map(openService));
    const names = await Promise.all(
      databases.map((database) => database.query((db) => rowsOf(db, sql`select name from users`))),
    );
    for (const rows of names) assert.deepEqual(rows, [{ name: 'Alice' }]);
    const server = await connectPostgres(testDatabase.url);
    const locks = await server.rows(
      `select 1 from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())`,
    );
    assert.deepEqual(locks, []);
    await server.close();
  });

  it('serves more clients than there are server connections', async () => {
    const databases = await Promise.all([1, 2, 3].map(openService));
    await Promise.all(
      Array.from({ length: 90 }, async (_, n) => {
        const database = databases[n % 3] as Database;
        await database.transaction((tx) => tx.execute(sql`insert into users values (${`user ${n}`})`));
        const rows = await database.query((db) =>
          rowsOf(db, sql`select 1 from users where name = ${`user ${n}`}`),
        );
        assert.equal(rows.length, 1);
      }),
    );
    const failing = databases[0]?.transaction(async (tx) => {
      await tx.execute(sql`insert into users values ('rolled back')`);
      throw new Error('no');
    });
    await assert.rejects(failing ?? Promise.resolve(), /no/);
    const rows = await databases[1]?.query((db) =>
      rowsOf(db, sql`select 1 from users where name = 'rolled back'`),
    );
    assert.deepEqual(rows, []);
  });

  it('cancels slow statements of queries and transactions, and idle transactions', async () => {
    const database = await openService();
    const startedAt = performance.now();
    const sleep = sql`select pg_sleep(30)`;
    await assert.rejects(
      database.query((db) => db.execute(sleep)),
      isUnavailable,
    );
    await assert.rejects(
      database.transaction((tx) => tx.execute(sleep)),
      isUnavailable,
    );
    const abandoned = database.transaction(async (tx) => {
      await tx.execute(sql`update users set name = name`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await tx.execute(sql`select 1`);
    });
    await assert.rejects(abandoned);
    const hurried = runInContext({ correlationId: 'test', deadline: Deadline.after(50) }, () =>
      database.transaction((tx) => tx.execute(sleep)),
    );
    await assert.rejects(hurried, isUnavailable);
    assert.ok(performance.now() - startedAt < 10_000);
  });

  it('sets no timeouts for other clients of the pooler', async () => {
    const database = await openService();
    await database.query((db) => db.execute(sql`select 1`));
    await runInContext({ correlationId: 'test', deadline: Deadline.after(100) }, () =>
      database.transaction((tx) => tx.execute(sql`select 1`)),
    );
    const keyed = { key: 'one', caller: 'x', method: 'POST', path: '/', body: {} };
    const post = (request: KeyedRequest) =>
      createIdempotency(database).run(
        request,
        (once) => database.transaction((tx) => once(tx, async () => 1)),
        (body) => ({ body }),
      );
    for (const replayed of [false, true]) assert.equal((await post(keyed)).replayed, replayed);
    assert.deepEqual(await sharedSettings(), ['0']);
  });
}
