import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { sql } from 'drizzle-orm';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { isFailure, silentLogger } from '../testing.ts';
import { startSilentRelay } from '../testing-relay.ts';
import type { Database, Queries } from './database.ts';
import { openPostgres } from './postgres-database.ts';
import { rowsOf } from './rows-of.ts';
import { describeOnEachEngine, urlOf } from './testing.ts';

const isUnavailable = (error: unknown): boolean =>
  isFailure('database-unavailable')(error) && error.headers['Retry-After'] === '1';

async function backendOf(tx: Queries): Promise<number> {
  const [row] = await rowsOf<{ pid: number }>(tx, sql`select pg_backend_pid() as pid`);
  assert.ok(row);
  return row.pid;
}

async function count(database: Database): Promise<unknown> {
  const rows = await database.read((db) => rowsOf<{ n: number }>(db, sql`select count(*) as n from numbers`));
  return rows[0]?.n;
}

describeOnEachEngine('PostgreSQL database', { engines: ['postgres'] }, (open) => {
  async function openNumbers(): Promise<Database> {
    const database = await open();
    await database.write((tx) => tx.execute(sql`create table numbers (n int primary key)`));
    return database;
  }

  it('survives that the connection of a transaction is cut between two statements, and uses no dead one again', async () => {
    const database = await openNumbers();
    const { pool } = database as ReturnType<typeof openPostgres>;
    for (let round = 0; round < 3; round += 1) {
      const cut = database.write(async (tx) => {
        const pid = await backendOf(tx);
        await terminate(pid);
        await tx.execute(sql`insert into numbers values (1)`);
      });
      await assert.rejects(cut, isUnavailable);
    }
    assert.equal(await count(database), 0);
    assert.equal(pool.waiting, 0);
    await database.write((tx) => tx.execute(sql`insert into numbers values (1)`));
  });

  async function terminate(pid: number): Promise<void> {
    const other = await open();
    await other.read((db) => db.execute(sql`select pg_terminate_backend(${pid}, 5000)`));
  }

  it('gives every connection back, whatever becomes of the transaction', async () => {
    const database = await openNumbers();
    const { pool } = database as ReturnType<typeof openPostgres>;
    await Promise.allSettled(
      Array.from({ length: 200 }, (_, n) =>
        database.write(async (tx) => {
          await tx.execute(sql`insert into numbers values (${n % 50})`);
          if (n % 3 === 0) throw new Error('no');
        }),
      ),
    );
    assert.equal(pool.size, pool.idle);
    assert.equal(await count(database), 50);
  });

  it('runs a transaction again after a deadlock, and the caller sees none', async () => {
    const database = await openNumbers();
    await database.write((tx) => tx.execute(sql`insert into numbers values (1), (2)`));
    let attempts = 0;
    let arrived = 0;
    const both = new Promise<void>((resolve) => {
      void (async () => {
        while (arrived < 2) await new Promise(setImmediate);
        resolve();
      })();
    });
    const crossing = (first: number, second: number) =>
      database.write(async (tx) => {
        attempts += 1;
        await tx.execute(sql`update numbers set n = n where n = ${first}`);
        arrived += 1;
        await both;
        await tx.execute(sql`update numbers set n = n where n = ${second}`);
      });
    await Promise.all([crossing(1, 2), crossing(2, 1)]);
    assert.ok(attempts >= 3, `${attempts} attempts`);
  });

  it('does not run a transaction again for somebody who no longer waits', async () => {
    const database = await openNumbers();
    let attempts = 0;
    const expired = runInContext({ correlationId: 'test', deadline: Deadline.after(0) }, () =>
      database.write(async (tx) => {
        attempts += 1;
        await tx.execute(sql`do $$ begin raise exception 'again' using errcode = '40001'; end $$`);
      }),
    );
    await assert.rejects(expired);
    assert.equal(attempts, 1);
  });

  it('says that the database is away when the connection breaks while the commit is under way', async () => {
    // A relay in between cuts the connection at the word commit, as a network would.
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
      database.write((tx) => tx.execute(sql`select 1`)),
      isUnavailable,
    );
    assert.equal(database.pool.size, 0, 'the broken connection is gone, so the next call gets a new one');
    await database.read((db) => db.execute(sql`select 1`));
    await database.close();
    for (const socket of sockets) socket.destroy();
    relay.close();
  });

  it('says that the database is away when its disk is full: the same can succeed later', async () => {
    const database = await open();
    const full = database.write((tx) =>
      tx.execute(
        sql`do $$ begin raise exception 'No space left on device' using errcode = 'disk_full'; end $$`,
      ),
    );
    await assert.rejects(full, isUnavailable);
  });

  it('does not wait for ever for a server that says nothing more, and then goes on over new connections', async () => {
    const relay = await startSilentRelay(process.env.TEST_DATABASE_URL ?? '');
    const database = openPostgres({
      url: relay.url,
      poolSize: 2,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 200,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await database.read((db) => db.execute(sql`select 1`));
    const cutOff = database.write(async (tx) => {
      await tx.execute(sql`select 1`);
      relay.silence();
      await tx.execute(sql`select 1`);
    });
    await assert.rejects(cutOff, isUnavailable);
    await database.read((db) => db.execute(sql`select 1`));
    assert.equal(database.pool.size, 1, 'the silent connection is gone');
    relay.close();
    await database.close();
  });

  it('lets go of what a transaction has locked whose process says nothing more', async () => {
    const database = await openNumbers();
    await database.write((tx) => tx.execute(sql`insert into numbers values (1)`));
    const stopped = openPostgres({
      url: await urlOf(database),
      poolSize: 1,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 200,
      preparedStatements: true,
      logger: silentLogger(),
    });
    let goOn = (): void => undefined;
    const paused = stopped.write(async (tx) => {
      await tx.execute(sql`update numbers set n = 2`);
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    });
    // Its lock would be waited for until the statement timeout of whoever wants the row.
    while ((await locks(database)) === 0) await new Promise(setImmediate);
    await database.write((tx) => tx.execute(sql`update numbers set n = 3`));
    goOn();
    await assert.rejects(paused, isUnavailable);
    await stopped.close();
  });

  async function locks(database: Database): Promise<number> {
    const [row] = await database.read((db) =>
      rowsOf<{ held: number }>(
        db,
        sql`select count(*) as held from pg_locks
        where relation = 'numbers'::regclass and mode = 'RowExclusiveLock' and granted`,
      ),
    );
    assert.ok(row);
    return row.held;
  }

  it('leaves no statement of a transaction running for somebody who no longer waits', async () => {
    const database = await open();
    const abandoned = runInContext({ correlationId: 'test', deadline: Deadline.after(200) }, () =>
      database.write(async (tx) => {
        await tx.execute(sql`select 1`);
        await tx.execute(sql`select pg_sleep(30) /* abandoned */`);
      }),
    );
    const begunAt = performance.now();
    await assert.rejects(abandoned, isUnavailable);
    assert.ok(performance.now() - begunAt < 5000);
    const rows = await database.read((db) =>
      rowsOf<{ running: number }>(
        db,
        sql`select count(*) as running from pg_stat_activity
        where state = 'active' and query like 'select pg_sleep%' and pid <> pg_backend_pid()`,
      ),
    );
    assert.equal(rows[0]?.running, 0);
    // The limit was that of the transaction alone.
    await database.write((tx) => tx.execute(sql`select pg_sleep(0.3)`));
  });

  it('ends a statement that takes too long', async () => {
    const database = openPostgres({
      url: process.env.TEST_DATABASE_URL ?? '',
      poolSize: 1,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 50,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await assert.rejects(
      database.read((db) => db.execute(sql`select pg_sleep(10)`)),
      isUnavailable,
    );
    await database.close();
  });
});

it('PostgreSQL database: says that it is away when nobody listens', async () => {
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
    database.read((db) => db.execute(sql`select 1`)),
    isUnavailable,
  );
  await assert.rejects(
    database.write((tx) => tx.execute(sql`select 1`)),
    isUnavailable,
  );
  await database.close();
});
