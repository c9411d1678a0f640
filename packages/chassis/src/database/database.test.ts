import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type SQL, sql } from 'drizzle-orm';
import type { Database } from './database.ts';
import { driverError } from './database-errors.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine } from './testing.ts';

const rows = (database: Database, query: SQL) =>
  database.read((db) => rowsOf<Record<string, unknown>>(db, query));

describeOnEachEngine('database', {}, (open) => {
  async function openNumbers(): Promise<Database> {
    const database = await open();
    await database.write((tx) => tx.execute(sql`create table numbers (n int primary key)`));
    return database;
  }

  it('keeps what a transaction wrote, and nothing of one that failed', async () => {
    const database = await openNumbers();
    await database.write((tx) => tx.execute(sql`insert into numbers values (1)`));
    const failing = database.write(async (tx) => {
      await tx.execute(sql`insert into numbers values (2)`);
      throw new Error('changed my mind');
    });
    await assert.rejects(failing, /changed my mind/);
    assert.deepEqual(await rows(database, sql`select n from numbers`), [{ n: 1 }]);
  });

  it('never takes a rolled back transaction for a committed one', async () => {
    const database = await openNumbers();
    const swallowing = database.write(async (tx) => {
      await tx.execute(sql`insert into numbers values (1)`);
      await tx.execute(sql`insert into numbers values (1)`).catch(() => undefined);
      return 'stored';
    });
    await assert.rejects(swallowing);
    assert.deepEqual(await rows(database, sql`select n from numbers`), []);
    await database.write((tx) => tx.execute(sql`insert into numbers values (3)`));
  });

  it('throws at once when a transaction uses the database beside its tx', async () => {
    const database = await openNumbers();
    for (const nested of [
      () => database.read((db) => db.execute(sql`select 1`)),
      () => database.write((tx) => tx.execute(sql`select 1`)),
    ]) {
      await assert.rejects(database.write(nested), /through its tx/);
    }
    await database.write((tx) => tx.execute(sql`insert into numbers values (1)`));
  });

  it('reads int8, counts and sums as numbers, and refuses what a number cannot hold', async () => {
    const database = await openNumbers();
    const [row] = await rows(
      database,
      sql`select 9007199254740991::int8 as big, count(*) as count, sum(2) as sum from numbers`,
    );
    assert.deepEqual(row, { big: 9_007_199_254_740_991, count: 0, sum: null });
    const tooBig = rows(database, sql`select 9007199254740993::int8 as big`);
    await assert.rejects(tooBig, (error) => driverError(error) instanceof RangeError);
  });

  it('reads many queries at once', async () => {
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
