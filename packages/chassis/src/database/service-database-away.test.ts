import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { databaseVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { createLifecycle, type Lifecycle } from '../lifecycle/lifecycle.ts';
import { recordingLogger, silentLogger, testMetrics } from '../testing.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';
import { openServiceDatabase } from './service-database.ts';
import { describeOnEachEngine, urlOf } from './testing.ts';

describeOnEachEngine("a service's database that is away", { engines: ['postgres'] }, (open) => {
  let server: URL;
  let folder: string;
  let lifecycle: Lifecycle;
  let door: Server;
  let port: number;

  before(async () => {
    server = new URL(await urlOf(await open()));
    folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
    await writeFile(join(folder, '0001_users.sql'), "create table users as select 'Alice' as name;");
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    lifecycle = createLifecycle({ logger: silentLogger() });
    door = createServer((socket) => {
      const way = connect(Number(server.port || 5432), server.hostname);
      socket.pipe(way).pipe(socket);
      for (const end of [socket, way]) end.on('error', () => undefined);
    });
    port = await listen(0);
    await shut();
  });
  afterEach(async () => {
    await lifecycle.shutdown();
    if (door.listening) await shut();
  });

  async function listen(wanted: number): Promise<number> {
    door.listen(wanted, '127.0.0.1');
    await once(door, 'listening');
    return (door.address() as AddressInfo).port;
  }

  async function shut(): Promise<void> {
    door.close();
    await once(door, 'close');
  }

  /** Begins to open the database behind the door; `told` resolves with the first line that is logged. */
  function begin(migrate: boolean): { opened: Promise<Database>; told: Promise<string> } {
    const url = new URL(server);
    url.host = `127.0.0.1:${port}`;
    const { logger, lines } = recordingLogger();
    const opened = openServiceDatabase({
      ...{ service: 'test-service', migrate, logger, lifecycle, metrics: testMetrics() },
      config: loadConfig(z.object(databaseVariables()), { DATABASE_URL: url.href }),
      migrations: pathToFileURL(`${folder}/`),
      demoData: () => assert.fail('not wanted'),
    });
    const told = (async () => {
      while (lines.length === 0) await new Promise(setImmediate);
      return String(lines[0]?.msg);
    })();
    return { opened, told };
  }

  it('is waited for while there is something to migrate', async () => {
    const { opened, told } = begin(true);
    assert.equal(
      await told,
      `the database cannot be reached: connect ECONNREFUSED 127.0.0.1:${port}; trying again`,
    );
    await listen(port);
    const database = await opened;
    const rows = await database.read((db) => rowsOf<unknown>(db, sql`select name from users`));
    assert.deepEqual(rows, [{ name: 'Alice' }]);
  });

  it('is waited for no longer than until the service is stopped', async () => {
    const { opened, told } = begin(true);
    await told;
    const refused = assert.rejects(opened, /^StartupError: the database cannot be reached/);
    await lifecycle.shutdown();
    await refused;
  });

  it('does not hold up a service whose migrations are applied elsewhere', async () => {
    const { opened, told } = begin(false);
    const database = await opened;
    assert.match(
      await told,
      /^the database cannot be reached: .*; whether migrations are pending is not known$/,
    );
    await assert.rejects(
      database.read((db) => db.execute(sql`select 1`)),
      { code: 'database-unavailable' },
    );
  });
});
