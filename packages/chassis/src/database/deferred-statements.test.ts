import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine } from '../../testing/database.ts';
import type { Database, Queries } from './database.ts';
import { driverError } from './database-errors.ts';
import { deferStatement } from './deferred-statements.ts';
import { prepareStatement } from './prepared-query.ts';
import { rowsOf } from './rows-of.ts';

const insert = prepareStatement(sql`insert into numbers values (${sql.placeholder('n')})`);
const uniqueViolation = (error: unknown) => driverError(error).code === '23505';

describeOnEachEngine('deferred statements', {}, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int primary key)`));
  });

  async function numbers(): Promise<number[]> {
    const rows = await database.query((db) =>
      rowsOf<{ n: number }>(db, sql`select n from numbers order by n`),
    );
    return rows.map(({ n }) => n);
  }

  /** Runs a transaction that defers inserts, and then `end`. */
  function inserting(
    values: readonly number[],
    end: (tx: Queries) => unknown = () => undefined,
  ): Promise<void> {
    return database.transaction(async (tx) => {
      for (const n of values) await deferStatement(tx, insert(tx, { n }));
      await end(tx);
    });
  }

  it('are stored by the commit', async () => {
    await inserting([1, 2, 3]);
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('roll the transaction back if one of them fails, and reject with its error', async () => {
    const before = await numbers();
    await assert.rejects(inserting([4, 1, 5]), uniqueViolation);
    assert.deepEqual(await numbers(), before);
    await inserting([6]);
  });

  it('are the reason if a later statement of the work is rejected', async () => {
    const before = await numbers();
    const failing = inserting([1], (tx) => insert(tx, { n: 5 }));
    await assert.rejects(failing, uniqueViolation);
    const deferredLast = inserting([], async (tx) => {
      const awaited = insert(tx, { n: 1 });
      await deferStatement(tx, insert(tx, { n: 5 }));
      await awaited;
    });
    await assert.rejects(deferredLast, uniqueViolation);
    assert.deepEqual(await numbers(), before);
  });

  it('do not commit if one of them fails before it is sent', async () => {
    const before = await numbers();
    const failing = inserting([7], (tx) => deferStatement(tx, Promise.reject(new Error('not sent'))));
    await assert.rejects(failing, /not sent/);
    assert.deepEqual(await numbers(), before);
  });

  it('do not hide the error of the work, and their own errors are handled', async () => {
    const before = await numbers();
    const failing = inserting([8, 1], () => {
      throw new Error('work failed');
    });
    await assert.rejects(failing, /work failed/);
    assert.deepEqual(await numbers(), before);
  });

  it('belong to their own transaction if several run at a time', async () => {
    const results = await Promise.allSettled([10, 1, 11, 1, 12].map((n) => inserting([n, n + 100])));
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(
      (await numbers()).filter((n) => n >= 10),
      [10, 11, 12, 110, 111, 112],
    );
  });

  it('are awaited outside of a transaction', async () => {
    await database.query((db) => deferStatement(db, insert(db, { n: 20 })));
    await assert.rejects(
      database.query((db) => deferStatement(db, insert(db, { n: 20 }))),
      uniqueViolation,
    );
  });
});
