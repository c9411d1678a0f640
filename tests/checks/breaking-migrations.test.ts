import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { findBreaking, findBreakingMigrations } from '../../scripts/checks/migrations.ts';
import { blueprints, services } from '../../scripts/lib/services.ts';

const allowed = [
  'create table parts (id integer primary key, name text not null, unique (name));',
  'alter table orders add column note text;',
  'alter table orders add note text, add priority integer not null default 0;',
  "alter table orders add column label text not null default 'a, b; not null'; -- drop table orders",
  'alter table orders add column checked boolean, add column type text, add column row_number bigserial not null;',
  'alter table orders add column doubled integer not null generated always as (2 * total_cents) stored;',
  'create index orders_note on orders (note);',
  'create index concurrently if not exists orders_note on orders (note);',
  'alter table orders alter column note set default 1;',
  'alter table event alter note drop not null, add column type text;',
  'alter table orders set (fillfactor = 80);',
  'alter table orders validate constraint positive;',
  'create table a (id integer); create unique index on a (id); alter table a add constraint b check (id > 0);',
  'update orders set note = null where note = $x$drop table; $x$;',
  '/* drop table orders; */ create view open_orders as select 1;',
  "insert into orders (note) values ('a -- b; drop table orders');",
  "alter type status add value if not exists 'lost';",
];

const rejected = [
  'drop table orders;',
  'DROP TABLE IF EXISTS "orders" CASCADE',
  'drop index orders_note;',
  'drop trigger a on orders;',
  'drop extension citext;',
  'alter table orders drop column note;',
  'alter table orders drop default_price;',
  'alter table only orders\n  add x text,\n  drop column if exists note;',
  'alter table orders rename column note to remark;',
  'alter table orders rename to purchases;',
  'alter type status rename to state;',
  'alter type address drop attribute zip;',
  'alter type status set schema old;',
  'alter index orders_pkey rename to orders_key;',
  'alter domain price set not null;',
  'alter table orders alter column total_cents type bigint;',
  'alter table orders alter total_cents set data type bigint;',
  'alter table orders alter column note set not null;',
  'alter table orders alter column id drop identity;',
  'alter table orders alter column status drop default;',
  'alter table orders drop constraint orders_pkey;',
  'alter table orders add column note text not null;',
  'alter table orders add checked boolean not null;',
  'alter table orders add a text, add note text check (note in (1, 2));',
  'alter table orders add column k integer primary key;',
  'alter table orders add constraint positive check (total_cents > 0) not valid;',
  'alter table orders force row level security;',
  'create unique index orders_note on orders (note);',
  'create unique index on orders (note);',
  'create unique index concurrently orders_note on orders using btree (note);',
  'create table a (id integer);\nalter table orders add unique (note);',
  'create table if not exists orders (id integer);\nalter table orders drop column note;',
  'truncate orders;',
  'delete from orders where id = 1;',
  'with gone as (delete from orders returning id) select 1;',
  'do $$ begin drop table orders; end $$;',
  'revoke insert on orders from public;',
  "insert into a values ('x -- y');\ndrop table orders;\ninsert into a values ('z');",
];

describe('migrations that the previous version of a service may not work with', () => {
  for (const sql of allowed) it(`allows ${sql}`, () => assert.deepEqual(findBreaking(sql), []));

  for (const sql of rejected)
    it(`rejects ${sql}`, () => {
      const statements = findBreaking(sql);
      assert.equal(statements.length, 1, statements.join());
    });

  it('are permitted with a version that the service has reached', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const [service, ...others] = [...services, ...blueprints].filter(({ database }) => database);
    assert.ok(service);
    for (const { name } of [service, ...others])
      await mkdir(join(folder, 'packages', name, 'migrations'), { recursive: true });
    const file = join(folder, 'packages', service.name, 'migrations', '0009_note.sql');
    const findings = async (firstLine: string) => {
      await writeFile(file, `${firstLine}\nalter table orders drop column note;\n`);
      return findBreakingMigrations(folder);
    };
    const [finding = '', ...more] = await findings('');
    assert.match(
      finding,
      /0009_note\.sql: the previous .* after "alter table orders drop column note"\. Add first/,
    );
    assert.deepEqual(more, []);
    const since = (version: string, name = service.name) =>
      findings(`-- No version uses it since ${name}@${version}: the column note.`);
    assert.deepEqual(await since(service.version), []);
    assert.deepEqual(await since('0.0.9'), []);
    for (const version of ['999.0.0', service.version.replace(/\d+$/, '999')])
      assert.equal((await since(version)).length, 1, version);
    assert.equal((await since(service.version, 'another-service')).length, 1);
    assert.equal((await findings('-- No version uses it.')).length, 1);
  });

  it('are not in the repository', async () => {
    assert.deepEqual(await findBreakingMigrations(), []);
  });
});
