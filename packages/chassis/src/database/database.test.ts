import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type SQL, sql } from 'drizzle-orm';
import { describeOnEachEngine } from '../../testing/database.ts';
import type { Database } from './database.ts';
import { driverError } from './database-errors.ts';
import { rowsOf } from './rows-of.ts';

const rows = (database: Database, query: SQL) =>
  database.query((db) => rowsOf<Record<string, unknown>>(db, query));

describeOnEachEngine('database', {}, (openDatabase) => {
  async function openNumbers(): Promise<Database> {
    const database = await openDatabase();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int primary key)`));
    return database;
  }

  it('commits a transaction and rolls back a failed one', async () => {
    const database = await openNumbers();
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1)`));
    const failing = database.transaction(async (tx) => {
      await tx.execute(sql`insert into numbers values (2)`);
      throw new Error('roll back');
    });
    await assert.rejects(failing, /roll back/);
    assert.deepEqual(await rows(database, sql`select n from numbers`), [{ n: 1 }]);
  });

  it('throws if a transaction catches an error of a statement and continues', async () => {
    const database = await openNumbers();
    const swallowing = database.transaction(async (tx) => {
      await tx.execute(sql`insert into numbers values (1)`);
      await tx.execute(sql`insert into numbers values (1)`).catch(() => undefined);
      return 'stored';
    });
    await assert.rejects(swallowing);
    assert.deepEqual(await rows(database, sql`select n from numbers`), []);
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (3)`));
  });

  it('throws if a transaction uses the database instead of its tx', async () => {
    const database = await openNumbers();
    for (const nested of [
      () => database.query((db) => db.execute(sql`select 1`)),
      () => database.transaction((tx) => tx.execute(sql`select 1`)),
    ]) {
      await assert.rejects(database.transaction(nested), /must use its tx/);
    }
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1)`));
  });

  it('returns int8, counts and sums as numbers and throws for unsafe integers', async () => {
    const database = await openNumbers();
    const [row] = await rows(
      database,
      sql`select 9007199254740991::int8 as big, count(*) as count, sum(2) as sum from numbers`,
    );
    assert.deepEqual(row, { big: 9_007_199_254_740_991, count: 0, sum: null });
    const tooBig = rows(database, sql`select 9007199254740993::int8 as big`);
    await assert.rejects(tooBig, (error) => driverError(error) instanceof RangeError);
  });

  it('runs many queries concurrently', async () => {
    const database = await openNumbers();
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, n) => rows(database, sql`select ${n}::int as n`)),
    );
    assert.deepEqual(
      results.map(([row]) => row?.n),
      Array.from({ length: 50 }, (_, n) => n),
    );
  });
});
