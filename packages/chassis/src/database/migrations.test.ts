import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type SQL, sql } from 'drizzle-orm';
import type { Database } from './database.ts';
import { migratePglite, migratePostgres } from './migrations.ts';
import type { PgliteDatabase } from './pglite-database.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine, type OpenDatabase, urlOf } from './testing.ts';
import { DatabaseAwayError } from './until-reachable.ts';

const connectTimeoutMs = 5000;
const tables = 'create table numbers (n int); insert into numbers values (1);';
const more = 'insert into numbers values (2);';

/** A folder of migrations and a database for each test of a suite. */
function prepare(open: OpenDatabase) {
  let database: Database;
  let path: string;

  before(async () => {
    database = await open();
  });
  beforeEach(async () => {
    await database.write(async (tx) => {
      await tx.execute(sql`drop schema public cascade`);
      await tx.execute(sql`create schema public`);
    });
    path = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
  });
  afterEach(() => rm(path, { recursive: true, force: true }));

  return {
    async add(files: Record<string, string>): Promise<void> {
      for (const [name, content] of Object.entries(files))
        await writeFile(join(path, `${name}.sql`), content);
    },
    remove: (name: string) => rm(join(path, `${name}.sql`)),
    async migrate(apply = true): Promise<void> {
      const options = { folder: pathToFileURL(`${path}/`), apply };
      if (database.engine === 'pglite') return migratePglite((database as PgliteDatabase).lite, options);
      return migratePostgres(await urlOf(database), { ...options, connectTimeoutMs });
    },
    execute: (statement: SQL) => database.write((tx) => tx.execute(statement)),
    async numbers(): Promise<unknown[]> {
      const rows = await database.read((db) =>
        rowsOf<{ n: number }>(db, sql`select n from numbers order by n`),
      );
      return rows.map(({ n }) => n);
    },
  };
}

describeOnEachEngine('migrations', {}, (open) => {
  const { add, remove, migrate, numbers } = prepare(open);

  it('are applied in their order, and once however often a service starts', async () => {
    await add({ '0002_more': more, '0001_tables': tables });
    await migrate();
    await migrate();
    assert.deepEqual(await numbers(), [1, 2]);
    await add({ '0003_again': 'insert into numbers values (3);' });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('that fail are undone as a whole and named, those before stay, and the next start goes on from there', async () => {
    await add({
      '0001_tables': tables,
      '0002_more': `${more} insert into nowhere values (1);`,
      '0003_again': 'insert into numbers values (3);',
    });
    await assert.rejects(migrate(), {
      name: 'StartupError',
      exitCode: 1,
      message: 'migration 0002_more failed and was undone: relation "nowhere" does not exist',
    });
    assert.deepEqual(await numbers(), [1]);
    await add({ '0002_more': more });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('are named with exit code 78 when they are pending and must not be applied', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    const refused = (names: string) => ({
      name: 'StartupError',
      exitCode: 78,
      message: `pending migrations: ${names}; apply them first, or set MIGRATE_ON_START=true`,
    });
    await assert.rejects(migrate(false), refused('0001_tables, 0002_more'));
    await assert.rejects(numbers(), 'nothing was applied');
    await migrate();
    await migrate(false);
    await add({ '0003_again': more });
    await assert.rejects(migrate(false), refused('0003_again'));
  });

  it('with a lower number than one that is applied are refused, with the way out', async () => {
    await add({ '0001_tables': tables, '0003_again': more });
    await migrate();
    await add({ '0002_more': more });
    await assert.rejects(migrate(), {
      name: 'StartupError',
      exitCode: 78,
      message:
        'migration 0002_more is not applied, and 0003_again, which comes after it, is; give the new one the next free number',
    });
    assert.deepEqual(await numbers(), [1, 2]);
  });

  it('that an older replica does not know of are no error to it', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    await migrate();
    await remove('0002_more');
    await migrate();
    await migrate(false);
    assert.deepEqual(await numbers(), [1, 2]);
  });
});

describeOnEachEngine('migrations of replicas', { engines: ['postgres'] }, (open) => {
  const { add, migrate, execute, numbers } = prepare(open);

  it('are applied once by replicas that start together', async () => {
    await add({ '0001_tables': `${tables} select pg_sleep(0.2);`, '0002_more': more });
    await Promise.all([migrate(), migrate(), migrate()]);
    assert.deepEqual(await numbers(), [1, 2]);
  });

  it('are applied once by replicas that look for them while another is at a later one', async () => {
    const slow = (n: number) => `insert into numbers values (${n}); select pg_sleep(0.05);`;
    await add({ '0001_tables': tables, '0002': slow(2), '0003': slow(3), '0004': slow(4), '0005': slow(5) });
    await Promise.all([migrate(), migrate(), migrate(), migrate()]);
    assert.deepEqual(await numbers(), [1, 2, 3, 4, 5]);
    await migrate();
  });

  it('go on after a database that was migrated while its clock was set back', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    await migrate();
    await execute(
      sql`update schema_migrations set run_on = run_on - interval '1 day' where name = '0002_more'`,
    );
    await add({ '0003_again': 'insert into numbers values (3);' });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('are told of in one line when the connection breaks under them', async () => {
    await add({ '0001_tables': `${tables} select pg_terminate_backend(pg_backend_pid());` });
    await assert.rejects(migrate(), { name: 'StartupError', exitCode: 1, message: /^.* was undone: .*$/ });
    await assert.rejects(numbers());
  });

  it('can succeed later when the server goes away before the first of them', async () => {
    const url = new URL(await urlOf(await open()));
    const { port, hostname } = url;
    const relay = createServer((client) => {
      const server = connect(Number(port), hostname);
      client.on('data', (chunk) => {
        if (chunk.includes('schema_migrations')) server.destroy();
        else server.write(chunk);
      });
      server.pipe(client);
      for (const socket of [client, server]) socket.on('error', () => undefined);
      server.on('close', () => client.destroy());
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    url.port = String((relay.address() as AddressInfo).port);
    const folder = new URL('file:///nowhere/');
    const gone = (error: unknown): boolean => error instanceof DatabaseAwayError;
    await assert.rejects(migratePostgres(url.href, { folder, apply: true, connectTimeoutMs }), gone);
    relay.close();
  });
});

it('migrations say in one line, without the password, that the database cannot be reached', async () => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const folder = new URL('file:///nowhere/');
  const url = `postgres://somebody:secret@127.0.0.1:${port}/none`;

  // Somebody accepts and never says a word, as a firewall or another program would.
  await assert.rejects(migratePostgres(url, { folder, apply: true, connectTimeoutMs: 200 }), {
    name: 'StartupError',
    exitCode: 1,
    message: 'the database cannot be reached: timeout expired',
  });
  server.close();
  await once(server, 'close');
  await assert.rejects(migratePostgres(url, { folder, apply: true, connectTimeoutMs }), {
    name: 'StartupError',
    exitCode: 1,
    message: `the database cannot be reached: connect ECONNREFUSED 127.0.0.1:${port}`,
  });
});
