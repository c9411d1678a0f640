import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import { describeOnEachEngine } from '../../testing/database.ts';
import type { Database } from './database.ts';
import { prepareQuery, prepareStatement } from './prepared-query.ts';

const items = pgTable('items', {
  id: integer().primaryKey(),
  name: text().notNull(),
  madeAt: timestamp('made_at', { withTimezone: true, precision: 3 }).notNull(),
});

let builds = 0;
const selectItem = prepareQuery((db) => {
  builds += 1;
  return db
    .select()
    .from(items)
    .where(eq(items.id, sql.placeholder('id')));
});
const insertItem = prepareQuery((db) =>
  db
    .insert(items)
    .values({
      id: sql.placeholder('id'),
      name: sql.placeholder('name'),
      madeAt: sql`'2026-01-02T03:04:05.678Z'`,
    })
    .returning(),
);
const nameOf = prepareStatement<{ name: string; copies: number }>(
  sql`select name, ${sql.placeholder('copies')}::int as copies from items where id = ${sql.placeholder('id')}`,
);

describeOnEachEngine('prepared queries', {}, (openDatabase) => {
  let database: Database;
  const madeAt = new Date('2026-01-02T03:04:05.678Z');

  before(async () => {
    database = await openDatabase();
    await database.transaction((tx) =>
      tx.execute(
        sql`create table items (id int primary key, name text not null, made_at timestamptz(3) not null)`,
      ),
    );
    for (const id of [1, 2, 3]) await database.query((db) => insertItem(db, { id, name: `item ${id}` }));
  });

  it('return typed rows for the values of each call', async () => {
    for (const id of [2, 1, 2]) {
      const rows = await database.query((db) => selectItem(db, { id }));
      assert.deepEqual(rows, [{ id, name: `item ${id}`, madeAt }]);
    }
    assert.deepEqual(await database.query((db) => selectItem(db, { id: 9 })), []);
    assert.deepEqual(await database.query((db) => nameOf(db, { id: 3, copies: 7 })), [
      { name: 'item 3', copies: 7 },
    ]);
  });

  it('are built once for each connection', async () => {
    const read = (id: number) => database.transaction((tx) => selectItem(tx, { id }));
    await read(1);
    await database.query((db) => selectItem(db, { id: 1 }));
    const before = builds;
    for (let run = 0; run < 5; run += 1) await read(2);
    await database.query((db) => selectItem(db, { id: 3 }));
    const connections = database.engine === 'postgres' ? 0 : 6;
    assert.ok(builds - before <= connections, `${builds - before} builds`);
  });

  it('keep the values of concurrent calls apart', async () => {
    const ids = Array.from({ length: 60 }, (_, n) => 1 + (n % 3));
    const reads = ids.map((id, n) =>
      n % 2 === 0
        ? database.query((db) => selectItem(db, { id }))
        : database.transaction(
            async (tx) => (await Promise.all([selectItem(tx, { id }), nameOf(tx, { id, copies: n })]))[0],
          ),
    );
    const names = (await Promise.all(reads)).map(([item]) => item?.name);
    assert.deepEqual(
      names,
      ids.map((id) => `item ${id}`),
    );
  });

  it('see the changes of their transaction', async () => {
    await database.transaction(async (tx) => {
      const [inserted] = await insertItem(tx, { id: 10, name: 'new' });
      assert.deepEqual(inserted, { id: 10, name: 'new', madeAt });
      assert.deepEqual(await selectItem(tx, { id: 10 }), [inserted]);
    });
  });
});
