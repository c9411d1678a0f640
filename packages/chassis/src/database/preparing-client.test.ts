import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine, urlOf } from '../../testing/database.ts';
import { silentLogger } from '../../testing/observed.ts';
import type { Database, Queries } from './database.ts';
import { openPostgres } from './postgres-database.ts';
import { invalidateStatements } from './preparing-client.ts';
import { rowsOf } from './rows-of.ts';

describeOnEachEngine('prepared statements', { engines: ['postgres'] }, (openDatabase) => {
  // The limit applies to the process, which may run other tests.
  after(invalidateStatements);

  /** Opens a database with a single connection. */
  async function openSingleConnection(preparedStatements: boolean): Promise<Database> {
    const url = await urlOf(await openDatabase());
    return openPostgres({
      url,
      poolSize: 1,
      connectTimeoutMs: 5000,
      statementTimeoutMs: 5000,
      preparedStatements,
      logger: silentLogger(),
    });
  }

  const double = async (database: Database, number: number): Promise<unknown> =>
    (await database.query((db) => rowsOf<{ twice: number }>(db, sql`select 2 * ${number}::int as twice`)))[0]
      ?.twice;

  /** Returns the prepared statements of the connection with the number of their executions. */
  const preparedStatementsOf = (database: Database): Promise<{ statement: string; times: number }[]> =>
    database.query((db) =>
      rowsOf(
        db,
        sql`select statement, (generic_plans + custom_plans)::int as times from pg_prepared_statements
          where statement like 'select 2 *%'`,
      ),
    );

  it('are reused with any parameters and prepared again on a new connection', async () => {
    const database = await openSingleConnection(true);
    const statement = 'select 2 * $1::int as twice';
    for (const number of [1, 2, 3]) assert.equal(await double(database, number), 2 * number);
    assert.deepEqual(await preparedStatementsOf(database), [{ statement, times: 3 }]);
    // The pool closes a connection after a failed query.
    await assert.rejects(double(database, 2_000_000_000));
    for (const number of [4, 5]) assert.equal(await double(database, number), 2 * number);
    assert.deepEqual(await preparedStatementsOf(database), [{ statement, times: 2 }]);
    await database.close();
  });

  it('are used in transactions and survive a rollback', async () => {
    const database = await openSingleConnection(true);
    const rejected = database.transaction(async (tx) => {
      await tx.execute(sql`select 2 * ${1}::int as twice`);
      throw new Error('no');
    });
    await assert.rejects(rejected, /no/);
    assert.equal(await double(database, 5), 10);
    assert.equal((await preparedStatementsOf(database))[0]?.times, 2);
    await database.close();
  });

  // PostgreSQL, "cached plan must not change result type": SQLSTATE 0A000 of RevalidateCachedQuery.
  it('are prepared again after a migration changes a column type, on all connections', async () => {
    const migrator = await openDatabase();
    for (const statement of [sql`create table prices (amount integer)`, sql`insert into prices values (7)`])
      await migrator.transaction((tx) => tx.execute(statement));
    const url = await urlOf(migrator);
    const database = openPostgres({
      url,
      poolSize: 4,
      connectTimeoutMs: 5000,
      statementTimeoutMs: 5000,
      preparedStatements: true,
      logger: silentLogger(),
    });
    const read = (db: Queries) => rowsOf<{ amount: unknown }>(db, sql`select amount from prices`);
    const everywhere = () =>
      Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          n % 2 === 0 ? database.query(read) : database.transaction(read),
        ),
      );
    for (const type of ['integer', 'text', 'bigint', 'numeric']) {
      await migrator.transaction((tx) =>
        tx.execute(sql.raw(`alter table prices alter amount type ${type} using amount::${type}`)),
      );
      for (const rows of await everywhere()) assert.equal(String(rows[0]?.amount), '7', type);
    }
    await database.close();
  });

  it('are not used if disabled', async () => {
    const database = await openSingleConnection(false);
    assert.equal(await double(database, 1), 2);
    assert.deepEqual(await preparedStatementsOf(database), []);
    await database.close();
  });

  it('are limited to 250 texts', async () => {
    const database = await openSingleConnection(true);
    for (let column = 1; column <= 300; column += 1) {
      const [row] = await database.query((db) =>
        rowsOf<Record<string, number>>(db, sql`select 3 * ${column}::int as ${sql.raw(`c${column}`)}`),
      );
      assert.equal(row?.[`c${column}`], 3 * column);
    }
    const [row] = await database.query((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*)::int as n from pg_prepared_statements`),
    );
    assert.ok(row && row.n > 200 && row.n <= 250, `${row?.n} statements`);
    await database.close();
  });
});
