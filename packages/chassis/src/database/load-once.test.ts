import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { sql } from 'drizzle-orm';
import type { Database, Queries } from './database.ts';
import { loadOnce } from './load-once.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine } from './testing.ts';

describeOnEachEngine('loadOnce', {}, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    await database.write((tx) => tx.execute(sql`create table loaded (name text)`));
  });

  async function count(name: string): Promise<number | undefined> {
    const rows = await database.read((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*) as n from loaded where name = ${name}`),
    );
    return rows[0]?.n;
  }

  async function insert(tx: Queries, name: string): Promise<void> {
    await tx.execute(sql`insert into loaded values (${name})`);
  }

  it('runs the work once, whatever replicas start together, and each goes on when the data is there', async () => {
    // With connections that are there already, all begin at the same moment.
    await Promise.all(
      Array.from({ length: 8 }, () => database.read((db) => db.execute(sql`select pg_sleep(0.05)`))),
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

  it('keeps names apart', async () => {
    for (const name of ['users', 'orders']) {
      assert.equal(await loadOnce(database, name, (tx) => insert(tx, name)), true);
      assert.equal(await count(name), 1);
    }
  });

  it('leaves work that failed to be run again, with nothing of it done', async () => {
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
