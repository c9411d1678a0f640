import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine, urlOf } from '../../testing/database.ts';
import { programArgs } from '../../testing/program.ts';
import { openAsService } from '../../testing/service-database.ts';
import { dataFolderUser } from './data-folder.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';
import { openCommandDatabase } from './service-database.ts';

async function users(database: Database): Promise<unknown> {
  const rows = await database.query((db) => rowsOf<unknown>(db, sql`select name from users`));
  return rows;
}

describe('embedded service database', () => {
  let dataDir: string;
  let folder: string;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'zerda-service-database-'));
    folder = join(dataDir, 'test-service');
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it('is rejected in production with exit code 78 and creates no folder', async () => {
    const { opened } = await openAsService({ env: { DATA_DIR: dataDir, NODE_ENV: 'production' } });
    await assert.rejects(opened, {
      name: 'StartupError',
      exitCode: 78,
      message: /^DATABASE_URL must be set in production\. .*ALLOW_EMBEDDED_DATABASE=true$/,
    });
    assert.deepEqual(await readdir(dataDir), []);
  });

  it('is migrated, gets the demo data once and reopens after a failed start', async () => {
    assert.deepEqual(await runFailingService(), { code: 1, stderr: 'test-service: the port is in use\n' });
    assert.ok((await readdir(folder)).includes('lock'), 'the process left its lock');

    const env = {
      DATA_DIR: dataDir,
      DEMO_DATA: 'true',
      NODE_ENV: 'production',
      ALLOW_EMBEDDED_DATABASE: 'true',
    };
    const { opened, lifecycle, lines } = await openAsService({ env });
    const database = await opened;
    assert.equal(database.engine, 'pglite');
    assert.deepEqual(await users(database), [{ name: 'Alice' }]);
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      ['embedded database in use, not crash-safe'],
    );
    assert.equal(await dataFolderUser(folder), process.pid);
    await lifecycle.shutdown();
    assert.equal(await dataFolderUser(folder), undefined);
    await assert.rejects(users(database));
  });

  it('creates its files again if a process died while it created them', async () => {
    await mkdir(join(folder, 'files'), { recursive: true });
    for (const name of ['files/PG_VERSION', 'engine-version']) await writeFile(join(folder, name), '18\n');
    await writeFile(join(folder, 'initializing'), '');
    const { opened, lifecycle } = await openAsService({ env: { DATA_DIR: dataDir } });
    assert.deepEqual(await users(await opened), []);
    await lifecycle.shutdown();
    assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files']);
  });

  it('is closed and its folder unlocked if a migration fails', async () => {
    const { opened, lifecycle } = await openAsService({
      env: { DATA_DIR: dataDir },
      migration: 'create nonsense;',
    });
    await assert.rejects(opened, {
      name: 'StartupError',
      message: /^migration 0001_users failed and was rolled back: syntax error/,
    });
    assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files']);
    await lifecycle.shutdown();
  });

  it('reports unreadable files in one line and unlocks its folder', async () => {
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
    const program = new URL('../../testing/failing-service-process.ts', import.meta.url);
    return new Promise((resolve) => {
      execFile(process.execPath, [...programArgs(program), dataDir], (error, _stdout, stderr) =>
        resolve({ code: error?.code, stderr }),
      );
    });
  }
});

describeOnEachEngine('service database', { engines: ['postgres'] }, (openDatabase) => {
  let observer: Database;
  let env: { DATABASE_URL: string; DEMO_DATA: string };

  before(async () => {
    observer = await openDatabase();
    env = { DATABASE_URL: await urlOf(observer), DEMO_DATA: 'true' };
  });
  beforeEach(async () => {
    await observer.transaction(async (tx) => {
      await tx.execute(sql`drop schema public cascade`);
      await tx.execute(sql`create schema public`);
    });
  });

  /** Waits until only the observer is connected to the database. */
  async function untilDisconnected(): Promise<void> {
    const giveUpAt = performance.now() + 5000;
    for (;;) {
      const rows = await observer.query((db) =>
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

  it('is migrated, gets the demo data once, exports pool metrics and closes at shutdown', async () => {
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
    assert.match((await second.metrics.render()).body, /^pool_max_connections\{pool="database"\} [1-9]\d*$/m);
    await Promise.all([first.lifecycle.shutdown(), second.lifecycle.shutdown()]);
    await untilDisconnected();
  });

  it('uses prepared statements if DATABASE_PREPARED_STATEMENTS is set', async () => {
    for (const setting of ['true', 'false']) {
      const { opened, lifecycle } = await openAsService({
        env: { ...env, DATABASE_POOL_SIZE: '1', DATABASE_PREPARED_STATEMENTS: setting },
      });
      const database = await opened;
      await users(database);
      const rows = await database.query((db) =>
        rowsOf(db, sql`select from pg_prepared_statements where statement = 'select name from users'`),
      );
      assert.equal(rows.length > 0, setting === 'true');
      await lifecycle.shutdown();
    }
    await untilDisconnected();
  });

  it('is not migrated if MIGRATE_ON_START is false', async () => {
    const { opened } = await openAsService({ env: { ...env, MIGRATE_ON_START: 'false' } });
    await assert.rejects(opened, { name: 'StartupError', exitCode: 78, message: /^pending migrations/ });
    await untilDisconnected();
  });

  it('is neither migrated nor gets the demo data for a command', async () => {
    const pending = await openAsService({ env, open: openCommandDatabase });
    await assert.rejects(pending.opened, {
      name: 'StartupError',
      exitCode: 78,
      message: /^pending migrations/,
    });
    const service = await openAsService({ env: { ...env, DEMO_DATA: 'false' } });
    const command = await openAsService({ env, open: openCommandDatabase });
    assert.deepEqual(await users(await command.opened), []);
    await Promise.all([service.lifecycle.shutdown(), command.lifecycle.shutdown()]);
    await untilDisconnected();
  });

  it('must be reachable for a command', async () => {
    const { opened } = await openAsService({
      env: { ...env, DATABASE_URL: 'postgres://127.0.0.1:1/none' },
      open: openCommandDatabase,
    });
    await assert.rejects(opened, { name: 'StartupError', message: /^the database cannot be reached/ });
  });

  it('is closed if loading the demo data fails', async () => {
    const { opened } = await openAsService({ env, demoData: () => Promise.reject(new TypeError('a bug')) });
    await assert.rejects(opened, { name: 'TypeError', message: 'a bug' });
    await untilDisconnected();
  });

  it('reports in one line a connection that breaks while it is opened', async () => {
    const { opened } = await openAsService({
      env,
      demoData: async (tx) => void (await tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`)),
    });
    await assert.rejects(opened, {
      name: 'StartupError',
      exitCode: 1,
      message: /^the database cannot be used: \S.*$/,
    });
    await untilDisconnected();
  });
});
