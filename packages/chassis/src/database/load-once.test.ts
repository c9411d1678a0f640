import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine } from '../../testing/database.ts';
import type { Database, Queries } from './database.ts';
import { loadOnce } from './load-once.ts';
import { rowsOf } from './rows-of.ts';

const migrations = new URL('./tables/', import.meta.url);

describeOnEachEngine('loadOnce', { migrations }, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await database.transaction((tx) => tx.execute(sql`create table loaded (name text)`));
  });

  async function count(name: string): Promise<number | undefined> {
    const rows = await database.query((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*) as n from loaded where name = ${name}`),
    );
    return rows[0]?.n;
  }

  async function insert(tx: Queries, name: string): Promise<void> {
    await tx.execute(sql`insert into loaded values (${name})`);
  }

  it('runs once if several replicas start together, and all of them see the data', async () => {
    // Opens all connections first, so that all calls start at the same time.
    await Promise.all(
      Array.from({ length: 8 }, () => database.query((db) => db.execute(sql`select pg_sleep(0.05)`))),
    );
    const results = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const first = await loadOnce(database, 'together', (tx) => insert(tx, 'together'));
        assert.equal(await count('together'), 1);
        return first;
      }),
    );
    assert.equal(results.filter(Boolean).length, 1);
    assert.equal(await loadOnce(database, 'together', () => assert.fail('ran again')), false);
  });

  it('runs once per name', async () => {
    for (const name of ['users', 'orders']) {
      assert.equal(await loadOnce(database, name, (tx) => insert(tx, name)), true);
      assert.equal(await count(name), 1);
    }
  });

  it('runs nothing again in a database of version 0.1.0, which has the table before the migration', async () => {
    const migration = await readFile(new URL('1_loaded_data.sql', migrations), 'utf8');
    await database.transaction(async (tx) => {
      await tx.execute(sql`drop table loaded_data`);
      await tx.execute(
        sql`create table if not exists loaded_data (name text primary key, loaded_at timestamptz not null default now())`,
      );
      await tx.execute(sql`insert into loaded_data (name) values ('earlier')`);
      await tx.execute(sql.raw(migration));
    });
    assert.equal(await loadOnce(database, 'earlier', () => assert.fail('ran again')), false);
  });

  it('rolls back failed work and runs it again on the next call', async () => {
    const failing = loadOnce(database, 'failing', async (tx) => {
      await insert(tx, 'failing');
      throw new Error('half way');
    });
    await assert.rejects(failing, /half way/);
    assert.equal(await count('failing'), 0);
    assert.equal(await loadOnce(database, 'failing', (tx) => insert(tx, 'failing')), true);
    assert.equal(await count('failing'), 1);
  });
});
