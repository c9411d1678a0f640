import assert from 'node:assert/strict';
import { it } from 'node:test';
import { sql } from 'drizzle-orm';
import { silentLogger } from '../testing.ts';
import type { Database, Queries } from './database.ts';
import { openPostgres } from './postgres-database.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine, urlOf } from './testing.ts';

describeOnEachEngine('prepared statements', { engines: ['postgres'] }, (open) => {
  /** With one connection, so that it is known which one has what. */
  async function openOne(preparedStatements: boolean): Promise<Database> {
    const url = await urlOf(await open());
    return openPostgres({
      ...{ url, poolSize: 1, connectTimeoutMs: 5000, statementTimeoutMs: 5000 },
      preparedStatements,
      logger: silentLogger(),
    });
  }

  const double = async (database: Database, number: number): Promise<unknown> =>
    (await database.read((db) => rowsOf<{ twice: number }>(db, sql`select 2 * ${number}::int as twice`)))[0]
      ?.twice;

  /** What the server keeps for the connection: text, and how often it was carried out. */
  const kept = (database: Database): Promise<{ statement: string; times: number }[]> =>
    database.read((db) =>
      rowsOf(
        db,
        sql`select statement, (generic_plans + custom_plans)::int as times from pg_prepared_statements
          where statement like 'select 2 *%'`,
      ),
    );

  it('are kept by the connection, whatever their parameters, and made anew by the next one', async () => {
    const database = await openOne(true);
    const statement = 'select 2 * $1::int as twice';
    for (const number of [1, 2, 3]) assert.equal(await double(database, number), 2 * number);
    assert.deepEqual(await kept(database), [{ statement, times: 3 }]);
    // The pool parts with a connection whose query has failed.
    await assert.rejects(double(database, 2_000_000_000));
    for (const number of [4, 5]) assert.equal(await double(database, number), 2 * number);
    assert.deepEqual(await kept(database), [{ statement, times: 2 }]);
    await database.close();
  });

  it('are used within transactions, and outlive one that is rolled back', async () => {
    const database = await openOne(true);
    const refused = database.write(async (tx) => {
      await tx.execute(sql`select 2 * ${1}::int as twice`);
      throw new Error('no');
    });
    await assert.rejects(refused, /no/);
    assert.equal(await double(database, 5), 10);
    assert.equal((await kept(database))[0]?.times, 2);
    await database.close();
  });

  // PostgreSQL, "cached plan must not change result type": SQLSTATE 0A000 of RevalidateCachedQuery.
  it('survive a migration that changes the type of a column, in queries and in transactions on every connection', async () => {
    const migrator = await open();
    for (const statement of [sql`create table prices (amount integer)`, sql`insert into prices values (7)`])
      await migrator.write((tx) => tx.execute(statement));
    const url = await urlOf(migrator);
    const database = openPostgres({
      ...{ url, poolSize: 4, connectTimeoutMs: 5000, statementTimeoutMs: 5000, preparedStatements: true },
      logger: silentLogger(),
    });
    const read = (db: Queries) => rowsOf<{ amount: unknown }>(db, sql`select amount from prices`);
    const everywhere = () =>
      Promise.all(
        Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? database.read(read) : database.write(read))),
      );
    for (const type of ['integer', 'text', 'bigint', 'numeric']) {
      await migrator.write((tx) =>
        tx.execute(sql.raw(`alter table prices alter amount type ${type} using amount::${type}`)),
      );
      for (const rows of await everywhere()) assert.equal(String(rows[0]?.amount), '7', type);
    }
    await database.close();
  });

  it('are left out unless they are wanted', async () => {
    const database = await openOne(false);
    assert.equal(await double(database, 1), 2);
    assert.deepEqual(await kept(database), []);
    await database.close();
  });

  it('are no more than a server can keep, however many texts there are', async () => {
    const database = await openOne(true);
    for (let column = 1; column <= 300; column += 1) {
      const [row] = await database.read((db) =>
        rowsOf<Record<string, number>>(db, sql`select 3 * ${column}::int as ${sql.raw(`c${column}`)}`),
      );
      assert.equal(row?.[`c${column}`], 3 * column);
    }
    const [row] = await database.read((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*)::int as n from pg_prepared_statements`),
    );
    assert.ok(row && row.n > 200 && row.n <= 250, `${row?.n} statements`);
    await database.close();
  });
});
