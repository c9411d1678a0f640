import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine, urlOf } from '../../testing/database.ts';
import { createGate, isFailure, silentLogger } from '../../testing/observed.ts';
import { startSilentRelay } from '../../testing/relay.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import type { Database, Queries } from './database.ts';
import { openPostgres } from './postgres-database.ts';
import { rowsOf } from './rows-of.ts';

const isUnavailable = (error: unknown): boolean =>
  isFailure('database-unavailable')(error) && error.retryAfterSeconds === 1;

async function backendOf(tx: Queries): Promise<number> {
  const [row] = await rowsOf<{ pid: number }>(tx, sql`select pg_backend_pid() as pid`);
  assert.ok(row);
  return row.pid;
}

async function count(database: Database): Promise<unknown> {
  const rows = await database.query((db) =>
    rowsOf<{ n: number }>(db, sql`select count(*) as n from numbers`),
  );
  return rows[0]?.n;
}

describeOnEachEngine('PostgreSQL database', { engines: ['postgres'] }, (openDatabase) => {
  async function openNumbers(): Promise<Database> {
    const database = await openDatabase();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int primary key)`));
    return database;
  }

  it('replaces a connection that was terminated within a transaction', async () => {
    const database = await openNumbers();
    const { pool } = database as ReturnType<typeof openPostgres>;
    for (let round = 0; round < 3; round += 1) {
      const cut = database.transaction(async (tx) => {
        const pid = await backendOf(tx);
        await terminate(pid);
        await tx.execute(sql`insert into numbers values (1)`);
      });
      await assert.rejects(cut, isUnavailable);
    }
    assert.equal(await count(database), 0);
    assert.equal(pool.waiting, 0);
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1)`));
  });

  async function terminate(pid: number): Promise<void> {
    const other = await openDatabase();
    await other.query((db) => db.execute(sql`select pg_terminate_backend(${pid}, 5000)`));
  }

  it('returns all connections to the pool after commits and rollbacks', async () => {
    const database = await openNumbers();
    const { pool } = database as ReturnType<typeof openPostgres>;
    await Promise.allSettled(
      Array.from({ length: 200 }, (_, n) =>
        database.transaction(async (tx) => {
          await tx.execute(sql`insert into numbers values (${n % 50})`);
          if (n % 3 === 0) throw new Error('no');
        }),
      ),
    );
    assert.equal(pool.size, pool.idle);
    assert.equal(await count(database), 50);
  });

  it('retries a transaction after a deadlock', async () => {
    const database = await openNumbers();
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1), (2)`));
    let attempts = 0;
    let arrived = 0;
    const both = new Promise<void>((resolve) => {
      void (async () => {
        while (arrived < 2) await new Promise(setImmediate);
        resolve();
      })();
    });
    const crossing = (first: number, second: number) =>
      database.transaction(async (tx) => {
        attempts += 1;
        await tx.execute(sql`update numbers set n = n where n = ${first}`);
        arrived += 1;
        await both;
        await tx.execute(sql`update numbers set n = n where n = ${second}`);
      });
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    assert.ok(attempts >= 3, `${attempts} attempts`);
  });

  it('does not retry a transaction after the request deadline', async () => {
    const database = await openNumbers();
    let attempts = 0;
    const expired = runInContext({ correlationId: 'test', deadline: Deadline.after(0) }, () =>
      database.transaction(async (tx) => {
        attempts += 1;
        await tx.execute(sql`do $$ begin raise exception 'again' using errcode = '40001'; end $$`);
      }),
    );
    await assert.rejects(expired);
    assert.equal(attempts, 1);
  });

  it('throws database-unavailable if the connection breaks during the commit', async () => {
    // A proxy closes the connection when it sees the commit.
    const relayed = new URL(process.env.TEST_DATABASE_URL ?? '');
    const { port, hostname } = relayed;
    const sockets: Socket[] = [];
    const relay = createServer((client) => {
      const server = connect(Number(port), hostname);
      sockets.push(client, server);
      client.on('data', (chunk) => {
        if (chunk.includes('commit')) client.destroy();
        else server.write(chunk);
      });
      server.pipe(client);
      for (const socket of [client, server]) socket.on('error', () => undefined);
      client.on('close', () => server.destroy());
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    relayed.port = String((relay.address() as AddressInfo).port);
    const database = openPostgres({
      url: relayed.href,
      poolSize: 1,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 2000,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await assert.rejects(
      database.transaction((tx) => tx.execute(sql`select 1`)),
      isUnavailable,
    );
    assert.equal(database.pool.size, 0, 'removes the broken connection from the pool');
    await database.query((db) => db.execute(sql`select 1`));
    await database.close();
    for (const socket of sockets) socket.destroy();
    relay.close();
  });

  it('throws database-unavailable if the disk is full', async () => {
    const database = await openDatabase();
    const full = database.transaction((tx) =>
      tx.execute(
        sql`do $$ begin raise exception 'No space left on device' using errcode = 'disk_full'; end $$`,
      ),
    );
    await assert.rejects(full, isUnavailable);
  });

  it('times out if the server stops responding, and continues on new connections', async () => {
    const relay = await startSilentRelay(process.env.TEST_DATABASE_URL ?? '');
    const database = openPostgres({
      url: relay.url,
      poolSize: 2,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 200,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await database.query((db) => db.execute(sql`select 1`));
    const cutOff = database.transaction(async (tx) => {
      await tx.execute(sql`select 1`);
      relay.silence();
      await tx.execute(sql`select 1`);
    });
    await assert.rejects(cutOff, isUnavailable);
    await database.query((db) => db.execute(sql`select 1`));
    assert.equal(database.pool.size, 1, 'removes the unresponsive connection from the pool');
    relay.close();
    await database.close();
  });

  it('releases the locks of a transaction whose process is suspended', async () => {
    const database = await openNumbers();
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1)`));
    const stopped = openPostgres({
      url: await urlOf(database),
      poolSize: 1,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 200,
      preparedStatements: true,
      logger: silentLogger(),
    });
    const updated = createGate();
    const resumed = createGate();
    const paused = stopped.transaction(async (tx) => {
      await tx.execute(sql`update numbers set n = 2`);
      updated.open();
      await resumed.pass();
    });
    // Without the limit the lock would be held until the other statement times out.
    await updated.pass();
    await database.transaction((tx) => tx.execute(sql`update numbers set n = 3`));
    resumed.open();
    await assert.rejects(paused, isUnavailable);
    await stopped.close();
  });

  it('cancels statements of a transaction at the request deadline', async () => {
    const database = await openDatabase();
    const abandoned = runInContext({ correlationId: 'test', deadline: Deadline.after(200) }, () =>
      database.transaction(async (tx) => {
        await tx.execute(sql`select 1`);
        await tx.execute(sql`select pg_sleep(30) /* abandoned */`);
      }),
    );
    const startedAt = performance.now();
    await assert.rejects(abandoned, isUnavailable);
    assert.ok(performance.now() - startedAt < 5000);
    const rows = await database.query((db) =>
      rowsOf<{ running: number }>(
        db,
        sql`select count(*) as running from pg_stat_activity
        where state = 'active' and query like 'select pg_sleep%' and pid <> pg_backend_pid()`,
      ),
    );
    assert.equal(rows[0]?.running, 0);
    // The limit applied to that transaction only.
    await database.transaction((tx) => tx.execute(sql`select pg_sleep(0.3)`));
  });

  it('cancels a statement at the statement timeout', async () => {
    const database = openPostgres({
      url: process.env.TEST_DATABASE_URL ?? '',
      poolSize: 1,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 50,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await assert.rejects(
      database.query((db) => db.execute(sql`select pg_sleep(10)`)),
      isUnavailable,
    );
    await database.close();
  });
});

it('PostgreSQL database: throws database-unavailable if the connection is refused', async () => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  const database = openPostgres({
    url: `postgres://nobody@127.0.0.1:${port}/none`,
    poolSize: 1,
    connectTimeoutMs: 500,
    statementTimeoutMs: 500,
    preparedStatements: true,
    logger: silentLogger(),
  });
  await assert.rejects(
    database.query((db) => db.execute(sql`select 1`)),
    isUnavailable,
  );
  await assert.rejects(
    database.transaction((tx) => tx.execute(sql`select 1`)),
    isUnavailable,
  );
  await database.close();
});
