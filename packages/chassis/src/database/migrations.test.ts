import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type SQL, sql } from 'drizzle-orm';
import { describeOnEachEngine, type OpenDatabase, urlOf } from '../../testing/database.ts';
import type { Database } from './database.ts';
import { migratePglite, migratePostgres } from './migrations.ts';
import type { PgliteDatabase } from './pglite-database.ts';
import { rowsOf } from './rows-of.ts';
import { DatabaseUnavailableError } from './until-reachable.ts';

const connectTimeoutMs = 5000;
const tables = 'create table numbers (n int); insert into numbers values (1);';
const more = 'insert into numbers values (2);';

/** Creates a folder of migrations per test and a database per suite. */
function prepare(openDatabase: OpenDatabase) {
  let database: Database;
  let path: string;

  before(async () => {
    database = await openDatabase();
  });
  beforeEach(async () => {
    await database.transaction(async (tx) => {
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
    folder: () => pathToFileURL(`${path}/`),
    async migrate(apply = true): Promise<void> {
      const options = { folder: pathToFileURL(`${path}/`), apply };
      if (database.engine === 'pglite') return migratePglite((database as PgliteDatabase).lite, options);
      return migratePostgres(await urlOf(database), { ...options, connectTimeoutMs });
    },
    execute: (statement: SQL) => database.transaction((tx) => tx.execute(statement)),
    async numbers(): Promise<unknown[]> {
      const rows = await database.query((db) =>
        rowsOf<{ n: number }>(db, sql`select n from numbers order by n`),
      );
      return rows.map(({ n }) => n);
    },
  };
}

describeOnEachEngine('migrations', {}, (openDatabase) => {
  const { add, remove, migrate, numbers } = prepare(openDatabase);

  it('are applied in order and only once', async () => {
    await add({ '0002_more': more, '0001_tables': tables });
    await migrate();
    await migrate();
    assert.deepEqual(await numbers(), [1, 2]);
    await add({ '0003_again': 'insert into numbers values (3);' });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('are rolled back and named if they fail; the next start continues there', async () => {
    await add({
      '0001_tables': tables,
      '0002_more': `${more} insert into nowhere values (1);`,
      '0003_again': 'insert into numbers values (3);',
    });
    await assert.rejects(migrate(), {
      name: 'StartupError',
      exitCode: 1,
      message: 'migration 0002_more failed and was rolled back: relation "nowhere" does not exist',
    });
    assert.deepEqual(await numbers(), [1]);
    await add({ '0002_more': more });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('are named with exit code 78 if they are pending and must not be applied', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    const rejected = (names: string) => ({
      name: 'StartupError',
      exitCode: 78,
      message: `pending migrations: ${names}. Run the migrate command, or set MIGRATE_ON_START=true`,
    });
    await assert.rejects(migrate(false), rejected('0001_tables, 0002_more'));
    await assert.rejects(numbers(), 'nothing was applied');
    await migrate();
    await migrate(false);
    await add({ '0003_again': more });
    await assert.rejects(migrate(false), rejected('0003_again'));
  });

  it('are rejected if a later migration is applied', async () => {
    await add({ '0001_tables': tables, '0003_again': more });
    await migrate();
    await add({ '0002_more': more });
    await assert.rejects(migrate(), {
      name: 'StartupError',
      exitCode: 78,
      message:
        'migration 0002_more is pending, but the later migration 0003_again is applied. Give 0002_more the next free number',
    });
    assert.deepEqual(await numbers(), [1, 2]);
  });

  it('are ignored if they are applied but unknown to an older replica', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    await migrate();
    await remove('0002_more');
    await migrate();
    await migrate(false);
    assert.deepEqual(await numbers(), [1, 2]);
  });
});

describeOnEachEngine('concurrent migrations', { engines: ['postgres'] }, (openDatabase) => {
  const { add, folder, migrate, execute, numbers } = prepare(openDatabase);

  it('are applied once if replicas start together', async () => {
    await add({ '0001_tables': `${tables} select pg_sleep(0.2);`, '0002_more': more });
    await Promise.all([migrate(), migrate(), migrate()]);
    assert.deepEqual(await numbers(), [1, 2]);
  });

  it('are applied once if replicas start while another applies a later one', async () => {
    const slow = (n: number) => `insert into numbers values (${n}); select pg_sleep(0.05);`;
    await add({ '0001_tables': tables, '0002': slow(2), '0003': slow(3), '0004': slow(4), '0005': slow(5) });
    await Promise.all([migrate(), migrate(), migrate(), migrate()]);
    assert.deepEqual(await numbers(), [1, 2, 3, 4, 5]);
    await migrate();
  });

  it('continue after the clock of the server was set back', async () => {
    await add({ '0001_tables': tables, '0002_more': more });
    await migrate();
    await execute(
      sql`update schema_migrations set run_on = run_on - interval '1 day' where name = '0002_more'`,
    );
    await add({ '0003_again': 'insert into numbers values (3);' });
    await migrate();
    assert.deepEqual(await numbers(), [1, 2, 3]);
  });

  it('report a broken connection in one line', async () => {
    await add({ '0001_tables': `${tables} select pg_terminate_backend(pg_backend_pid());` });
    await assert.rejects(migrate(), {
      name: 'StartupError',
      exitCode: 1,
      message: /^.* was rolled back: .*$/,
    });
    await assert.rejects(numbers());
  });

  /** Starts a proxy that calls `inject` before it forwards the first request with `statement`. Resolves with its URL. */
  async function startRelay(
    context: TestContext,
    databaseUrl: string,
    statement: string,
    inject: (server: Socket, client: Socket) => void,
  ): Promise<string> {
    const url = new URL(databaseUrl);
    const { port, hostname } = url;
    const relay = createServer((client) => {
      const server = connect(Number(port), hostname);
      context.after(() => {
        server.destroy();
        client.destroy();
      });
      client.on('data', (chunk) => {
        if (chunk.includes(statement)) inject(server, client);
        server.write(chunk);
      });
      server.on('data', (chunk) => client.write(chunk));
      for (const socket of [client, server]) socket.on('error', () => undefined);
      server.on('close', () => client.destroy());
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    context.after(() => relay.close());
    url.port = String((relay.address() as AddressInfo).port);
    return url.href;
  }

  const faults = {
    'the connection breaks': (server: Socket) => server.destroy(),
    'responses are lost': (server: Socket) => server.pause(),
  };
  for (const [fault, inject] of Object.entries(faults))
    for (const [statement, apply] of [
      ['begin', true],
      ['pg_try_advisory_xact_lock', true],
      ['schema_migrations', true],
      ['schema_migrations', false],
    ] as const)
      it(`throw DatabaseUnavailableError if ${fault} at ${statement}${apply ? '' : ', without applying'}`, async (context) => {
        const url = await startRelay(context, await urlOf(await openDatabase()), statement, inject);
        const options = { folder: new URL('file:///nowhere/'), apply, connectTimeoutMs };
        await assert.rejects(
          migratePostgres(url, { ...options, responseTimeoutMs: 300 }),
          (error) => error instanceof DatabaseUnavailableError,
        );
      });

  it('are applied by another replica if the one with the lock is suspended', async (context) => {
    await add({ '0001_tables': tables });
    const database = await openDatabase();
    let suspend = (): void => undefined;
    const locked = new Promise<void>((resolve) => {
      suspend = resolve;
    });
    const url = await startRelay(context, await urlOf(database), 'to_regclass', (_, client) => {
      // Later requests stay in the buffers of the sockets.
      client.pause();
      suspend();
    });
    const suspended = assert.rejects(
      migratePostgres(url, { folder: folder(), apply: true, connectTimeoutMs, maxIdleMs: 300 }),
    );
    await locked;
    await migratePostgres(await urlOf(database), { folder: folder(), apply: true, connectTimeoutMs });
    await suspended;
  });
});

it('migrations: report an unreachable database in one line without the password', async () => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const folder = new URL('file:///nowhere/');
  const url = `postgres://user:secret@127.0.0.1:${port}/none`;

  // The server accepts the connection and never responds.
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
