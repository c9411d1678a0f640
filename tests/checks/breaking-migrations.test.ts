import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { breakingEffects, findBreakingMigrations } from '../../scripts/checks/migrations.ts';
import { services } from '../../scripts/lib/services.ts';

const allowed = [
  'create table parts (id integer primary key, name text not null, unique (name));',
  'alter table orders add column note text;',
  'alter table orders add note text, add priority integer not null default 0;',
  "alter table orders add column label text not null default 'a, b; not null'; -- drop table orders",
  'create index orders_note on orders (note);',
  'create index concurrently if not exists orders_note on orders (note);',
  'alter table orders alter column note set default 1;',
  'alter table orders drop constraint orders_note_check;',
  'alter table orders alter note drop not null;',
  'create table a (id integer); create unique index a_id on a (id); alter table a add constraint b check (id > 0);',
  'update orders set note = null where note = $x$drop table; $x$;',
  '/* drop table orders; */ create view open_orders as select 1;',
  "alter type status add value if not exists 'lost';",
];

const rejected: readonly [sql: string, effect: RegExp][] = [
  ['drop table orders;', /removes an object/],
  ['DROP TABLE IF EXISTS "orders" CASCADE', /removes an object/],
  ['alter table orders drop column note;', /removes a column/],
  ['alter table orders drop note;', /removes a column/],
  ['alter table only orders\n  add x text,\n  drop column if exists note;', /removes a column/],
  ['alter table orders rename column note to remark;', /renames/],
  ['alter table orders rename to purchases;', /renames/],
  ['alter type status rename to state;', /renames/],
  ['alter index orders_pkey rename to orders_key;', /renames/],
  ['alter table orders alter column total_cents type bigint;', /type of a column/],
  ['alter table orders alter total_cents set data type bigint;', /type of a column/],
  ['alter table orders alter column note set not null;', /requires a value/],
  [
    'alter table orders add column note text not null;',
    /adds note, which the previous version does not write/,
  ],
  ['alter table orders add a text, add note text check (note in (1, 2)) not null;', /adds note/],
  ['alter table orders add constraint positive check (total_cents > 0) not valid;', /rejects rows/],
  ['create unique index orders_note on orders (note);', /rejects rows/],
  ['create unique index concurrently orders_note on orders using btree (note);', /rejects rows/],
  ['create table a (id integer);\nalter table orders add unique (note);', /rejects rows/],
  ['truncate orders;', /removes rows/],
  ['delete from orders where id = 1;', /removes rows/],
];

describe('migrations that the previous version of a service does not work with', () => {
  for (const sql of allowed) it(`allows ${sql}`, () => assert.deepEqual(breakingEffects(sql), []));

  for (const [sql, effect] of rejected)
    it(`rejects ${sql}`, () => {
      const effects = breakingEffects(sql);
      assert.equal(effects.length, 1, effects.join());
      assert.match(effects[0] ?? '', effect);
    });

  it('are permitted with the version since which no version uses what they remove', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const withDatabase = services.filter(({ database }) => database);
    for (const { name } of withDatabase)
      await mkdir(join(folder, 'packages', name, 'migrations'), { recursive: true });
    const [service] = withDatabase;
    const file = join(folder, 'packages', service?.name ?? '', 'migrations', '0009_note.sql');
    await writeFile(file, 'alter table orders drop column note;\n');
    const [finding = '', ...others] = await findBreakingMigrations(folder);
    assert.match(
      finding,
      /0009_note\.sql: "alter table orders drop column note" removes a column\. Add first/,
    );
    assert.deepEqual(others, []);
    const reason = `-- No version uses it since ${service?.name}@1.4.0: the column note.\n`;
    await writeFile(file, `${reason}alter table orders drop column note;\n`);
    assert.deepEqual(await findBreakingMigrations(folder), []);
    await writeFile(file, `-- No version uses it.\nalter table orders drop column note;\n`);
    assert.equal((await findBreakingMigrations(folder)).length, 1);
  });

  it('are not in the repository', async () => {
    assert.deepEqual(await findBreakingMigrations(), []);
  });
});
