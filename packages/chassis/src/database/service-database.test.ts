import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { dataFolderUser } from './data-folder.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine, urlOf } from './testing.ts';
import { openAsService } from './testing-service-database.ts';

async function users(database: Database): Promise<unknown> {
  const rows = await database.read((db) => rowsOf<unknown>(db, sql`select name from users`));
  return rows;
}

describe("a service's database that is embedded", () => {
  let dataDir: string;
  let folder: string;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'zerda-service-database-'));
    folder = join(dataDir, 'test-service');
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it('is refused in production with exit code 78, and no folder is made', async () => {
    const { opened } = await openAsService({ env: { DATA_DIR: dataDir, NODE_ENV: 'production' } });
    await assert.rejects(opened, {
      name: 'StartupError',
      exitCode: 78,
      message: /^DATABASE_URL must be set: .*ALLOW_EMBEDDED_DATABASE=true/,
    });
    assert.deepEqual(await readdir(dataDir), []);
  });

  it('is migrated, gets the demo data once, and is there again after a start that failed and released nothing', async () => {
    assert.deepEqual(await runFailingService(), { code: 1, stderr: 'test-service: the port is in use\n' });
    assert.ok((await readdir(folder)).includes('lock'), 'the process left its lock');

    const env = {
      ...{ DATA_DIR: dataDir, DEMO_DATA: 'true' },
      ...{ NODE_ENV: 'production', ALLOW_EMBEDDED_DATABASE: 'true' },
    };
    const { opened, lifecycle, lines } = await openAsService({ env });
    const database = await opened;
    assert.equal(database.engine, 'pglite');
    assert.deepEqual(await users(database), [{ name: 'Alice' }]);
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      ['embedded database: for demonstration, a crash of the machine can lose data'],
    );
    assert.equal(await dataFolderUser(folder), process.pid);
    await lifecycle.shutdown();
    assert.equal(await dataFolderUser(folder), undefined);
    await assert.rejects(users(database));
  });

  it('is closed, and its folder free, when a migration fails', async () => {
    const { opened, lifecycle } = await openAsService({
      env: { DATA_DIR: dataDir },
      migration: 'create nonsense;',
    });
    await assert.rejects(opened, {
      name: 'StartupError',
      message: /^migration 0001_users failed and was undone: syntax error/,
    });
    assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files']);
    await lifecycle.shutdown();
  });

  it('says in one line that its files cannot be read, and leaves its folder free', async () => {
    await mkdir(folder);
    await writeFile(join(folder, 'files'), 'not a folder');
    const { opened } = await openAsService({ env: { DATA_DIR: dataDir } });
    await assert.rejects(opened, {
      name: 'StartupError',
      exitCode: 1,
      message: /^the embedded database in .*test-service.files cannot be opened.*npm run reset$/,
    });
    assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files']);
  });

  function runFailingService(): Promise<{ code: unknown; stderr: string }> {
    const program = fileURLToPath(new URL('testing-failing-service.ts', import.meta.url));
    return new Promise((resolve) => {
      execFile(process.execPath, ['--import', 'tsx', program, dataDir], (error, _stdout, stderr) =>
        resolve({ code: error?.code, stderr }),
      );
    });
  }
});

describeOnEachEngine("a service's database", { engines: ['postgres'] }, (open) => {
  let observer: Database;
  let env: { DATABASE_URL: string; DEMO_DATA: string };

  before(async () => {
    observer = await open();
    env = { DATABASE_URL: await urlOf(observer), DEMO_DATA: 'true' };
  });
  beforeEach(async () => {
    await observer.write(async (tx) => {
      await tx.execute(sql`drop schema public cascade`);
      await tx.execute(sql`create schema public`);
    });
  });

  /** Waits until the server has no connection to the database but the one that asks. */
  async function othersGone(): Promise<void> {
    const giveUpAt = performance.now() + 5000;
    for (;;) {
      const rows = await observer.read((db) =>
        rowsOf<{ n: number }>(
          db,
          sql`select count(*) as n from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()`,
        ),
      );
      if (rows[0]?.n === 0) return;
      assert.ok(performance.now() < giveUpAt, `${rows[0]?.n} connections are still open`);
    }
  }

  it('is migrated, gets the demo data once, shows its pool in the metrics, and is closed at shutdown', async () => {
    const first = await openAsService({ env: { ...env, NODE_ENV: 'production' } });
    const second = await openAsService({ env });
    const database = await second.opened;
    assert.equal(database.engine, 'postgres');
    assert.deepEqual(await users(database), [{ name: 'Alice' }]);
    assert.deepEqual(
      [...first.lines, ...second.lines].map(({ msg }) => msg),
      ['demo data loaded'],
    );
    assert.match(
      (await second.metrics.render()).body,
      /^pool_connections\{pool="database",state="idle"\} 1$/m,
    );
    await Promise.all([first.lifecycle.shutdown(), second.lifecycle.shutdown()]);
    await othersGone();
  });

  it('is asked by prepared statements when DATABASE_PREPARED_STATEMENTS says so', async () => {
    for (const wanted of ['true', 'false']) {
      const { opened, lifecycle } = await openAsService({
        env: { ...env, DATABASE_POOL_SIZE: '1', DATABASE_PREPARED_STATEMENTS: wanted },
      });
      const database = await opened;
      await users(database);
      const rows = await database.read((db) =>
        rowsOf(db, sql`select from pg_prepared_statements where statement = 'select name from users'`),
      );
      assert.equal(rows.length > 0, wanted === 'true');
      await lifecycle.shutdown();
    }
    await othersGone();
  });

  it('is not migrated when MIGRATE_ON_START is false', async () => {
    const { opened } = await openAsService({ env: { ...env, MIGRATE_ON_START: 'false' } });
    await assert.rejects(opened, { name: 'StartupError', exitCode: 78, message: /^pending migrations/ });
    await othersGone();
  });

  it('is closed when the demo data cannot be loaded', async () => {
    const { opened } = await openAsService({ env, demoData: () => Promise.reject(new TypeError('a fault')) });
    await assert.rejects(opened, { name: 'TypeError', message: 'a fault' });
    await othersGone();
  });

  it('says in one line that the connection broke while it was opened', async () => {
    const { opened } = await openAsService({
      env,
      demoData: async (tx) => void (await tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`)),
    });
    await assert.rejects(opened, {
      name: 'StartupError',
      exitCode: 1,
      message: /^the database cannot be used: \S.*$/,
    });
    await othersGone();
  });
});
