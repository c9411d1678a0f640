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
import { describeOnEachEngine, urlOf } from '../../testing/database.ts';
import { recordingLogger, silentLogger, testAudit, testMetrics } from '../../testing/observed.ts';
import { databaseVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { createLifecycle, type Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';
import { openServiceDatabase } from './service-database.ts';

describeOnEachEngine('unavailable service database', { engines: ['postgres'] }, (openDatabase) => {
  let server: URL;
  let folder: string;
  let lifecycle: Lifecycle;
  let proxy: Server;
  let port: number;

  before(async () => {
    server = new URL(await urlOf(await openDatabase()));
    folder = await mkdtemp(join(tmpdir(), 'zerda-migrations-'));
    await writeFile(join(folder, '0001_users.sql'), "create table users as select 'Alice' as name;");
  });
  after(() => rm(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    lifecycle = createLifecycle({ logger: silentLogger() });
    proxy = createServer((socket) => {
      const upstream = connect(Number(server.port || 5432), server.hostname);
      socket.pipe(upstream).pipe(socket);
      for (const end of [socket, upstream]) end.on('error', () => undefined);
    });
    port = await listen(0);
    await closeProxy();
  });
  afterEach(async () => {
    await lifecycle.shutdown();
    if (proxy.listening) await closeProxy();
  });

  async function listen(listenPort: number): Promise<number> {
    proxy.listen(listenPort, '127.0.0.1');
    await once(proxy, 'listening');
    return (proxy.address() as AddressInfo).port;
  }

  async function closeProxy(): Promise<void> {
    proxy.close();
    await once(proxy, 'close');
  }

  /** Starts to open the database behind the proxy; `firstMessage` resolves with the first log message. */
  function startOpening(migrate: boolean): { opened: Promise<Database>; firstMessage: Promise<string> } {
    const url = new URL(server);
    url.host = `127.0.0.1:${port}`;
    const { logger, lines } = recordingLogger();
    const opened = openServiceDatabase({
      service: 'test-service',
      migrate,
      logger,
      audit: testAudit(logger),
      lifecycle,
      metrics: testMetrics(),
      config: loadConfig(z.object(databaseVariables()), { DATABASE_URL: url.href }),
      migrations: pathToFileURL(`${folder}/`),
      demoData: () => assert.fail('must not load demo data'),
    });
    const firstMessage = (async () => {
      while (lines.length === 0) await new Promise(setImmediate);
      return String(lines[0]?.msg);
    })();
    return { opened, firstMessage };
  }

  it('delays the start while migrations are to be applied', async () => {
    const { opened, firstMessage } = startOpening(true);
    assert.equal(
      await firstMessage,
      `the database cannot be reached: connect ECONNREFUSED 127.0.0.1:${port}; retrying`,
    );
    await listen(port);
    const database = await opened;
    const rows = await database.query((db) => rowsOf<unknown>(db, sql`select name from users`));
    assert.deepEqual(rows, [{ name: 'Alice' }]);
  });

  it('stops delaying the start at shutdown', async () => {
    const { opened, firstMessage } = startOpening(true);
    await firstMessage;
    const rejected = assert.rejects(opened, /^StartupError: the database cannot be reached/);
    await lifecycle.shutdown();
    await rejected;
  });

  it('does not delay the start if migrations are applied elsewhere', async () => {
    const { opened, firstMessage } = startOpening(false);
    const database = await opened;
    assert.match(await firstMessage, /^the database cannot be reached: .*; pending migrations unknown$/);
    await assert.rejects(
      database.query((db) => db.execute(sql`select 1`)),
      { code: 'database-unavailable' },
    );
  });
});
