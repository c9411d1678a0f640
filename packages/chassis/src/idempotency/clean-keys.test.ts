import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine } from '../../testing/database.ts';
import { createKeyTable } from '../../testing/key-table.ts';
import { recordingLogger, silentLogger } from '../../testing/observed.ts';
import type { Database } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { cleanKeys, startKeyCleaner } from './clean-keys.ts';

describeOnEachEngine('cleanKeys', {}, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await createKeyTable(database);
  });
  beforeEach(() => database.transaction((tx) => tx.execute(sql`delete from idempotency_keys`)));

  async function addKeys(name: string, count: number, age: string): Promise<void> {
    await database.transaction((tx) =>
      tx.execute(sql`insert into idempotency_keys (caller, method, path, key, fingerprint, created_at)
        select 'anyone', 'POST', '/', ${name} || n, '', now() - ${age}::interval from generate_series(1, ${count}::int) n`),
    );
  }

  async function countKeys(): Promise<number | undefined> {
    const rows = await database.query((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*) as n from idempotency_keys`),
    );
    return rows[0]?.n;
  }

  it('deletes keys older than a day in batches, and no others', async () => {
    await addKeys('old', 2500, '24 hours 1 minute');
    await addKeys('young', 7, '23 hours 59 minutes');
    let statements = 0;
    const counting: Database = {
      ...database,
      query: (work) => {
        statements += 1;
        return database.query(work);
      },
    };
    assert.equal(await cleanKeys(counting), 2500);
    assert.equal(await countKeys(), 7);
    assert.equal(statements, 3);
    assert.equal(await cleanKeys(database), 0);
  });

  it('stops after the current statement when the signal aborts', async () => {
    await addKeys('old', 2500, '2 days');
    const stop = new AbortController();
    stop.abort();
    assert.equal(await cleanKeys(database, stop.signal), 1000);
    assert.equal(await countKeys(), 1500);
  });

  it('runs every ten minutes', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const lifecycle = createLifecycle({ logger: silentLogger() });
    startKeyCleaner({ database, lifecycle, logger: silentLogger() });
    for (let round = 0; round < 2; round += 1) {
      await addKeys('old', 3, '2 days');
      context.mock.timers.tick(600_000);
      while ((await countKeys()) !== 0) await wait(1);
    }
    await lifecycle.shutdown();
  });
});

describe('startKeyCleaner', () => {
  it('continues after a failed run, never overlaps, and finishes the current run at shutdown', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const rounds: Round[] = [];
    const database = {
      query() {
        const round = createRound();
        rounds.push(round);
        return round.promise;
      },
    } as unknown as Database;
    const { logger, lines } = recordingLogger();
    const lifecycle = createLifecycle({ logger });
    startKeyCleaner({ database, lifecycle, logger, everyMs: 1000 });

    context.mock.timers.tick(3000);
    assert.equal(rounds.length, 1);
    rounds[0]?.reject(new Error('database unavailable'));
    await new Promise(setImmediate);
    assert.deepEqual(
      lines.map(({ level, msg }) => [level, msg]),
      [['warn', 'deleting old idempotency keys failed']],
    );

    context.mock.timers.tick(1000);
    assert.equal(rounds.length, 2);
    let ended = false;
    const shutdown = lifecycle.shutdown().then(() => {
      ended = true;
    });
    await new Promise(setImmediate);
    assert.equal(ended, false);
    // A full batch means that more rows exist; they are left for the next start.
    rounds[1]?.resolve({ rows: Array.from({ length: 1000 }) });
    await shutdown;
    context.mock.timers.tick(10_000);
    assert.equal(rounds.length, 2);
  });
});

/** A pending database response that the test resolves. */
interface Round {
  readonly promise: Promise<unknown>;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

function createRound(): Round {
  let resolve: (result: unknown) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise((...settle) => {
    [resolve, reject] = settle;
  });
  return { promise, resolve, reject };
}
