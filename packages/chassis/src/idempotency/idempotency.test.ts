import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { concurrentRuns, describeOnEachEngine, untilWaiting, urlOf } from '../../testing/database.ts';
import { createKeyTable } from '../../testing/key-table.ts';
import { createGate, isFailure, silentLogger } from '../../testing/observed.ts';
import { recordedRequest } from '../../testing/tracer.ts';
import { eventually } from '../../testing/wait.ts';
import type { Database, Queries } from '../database/database.ts';
import { openPostgres, type PostgresDatabase } from '../database/postgres-database.ts';
import { rowsOf } from '../database/rows-of.ts';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import { runInContext } from '../request-context.ts';
import { createIdempotency, type Idempotency } from './idempotency.ts';
import {
  type IdempotentResponse,
  type KeyedRequest,
  readResponse,
  type StoredResponse,
} from './key-table.ts';

const body = { product: 'Desk', quantity: 2, to: { city: 'Graz', lines: ['a', 'b'] } };

function keyed(overrides: Partial<KeyedRequest> = {}): KeyedRequest {
  return { key: randomUUID(), caller: 'alice', method: 'POST', path: '/api/orders', body, ...overrides };
}

const idempotencyOf = new WeakMap<Database, Idempotency>();

/** Runs work as the writes of a use case with one transaction. The response is its result. */
function runIdempotent<Body>(
  database: Database,
  request: KeyedRequest | undefined,
  work: (tx: Queries) => Promise<StoredResponse<Body>>,
): Promise<IdempotentResponse<Body>> {
  const idempotency = idempotencyOf.get(database) ?? createIdempotency(database);
  idempotencyOf.set(database, idempotency);
  return idempotency.run<StoredResponse<Body>, Body>(
    request,
    (once) => database.transaction((tx) => once(tx, () => work(tx))),
    (response) => response,
  );
}

async function findStoredResponse(database: Database, request: KeyedRequest | undefined): Promise<unknown> {
  return request && database.query((db) => readResponse(db, request));
}

/** Returns work that inserts a row and counts its runs; `middle` can wait or fail. */
function createWork(middle: (tx: Queries) => unknown = () => undefined) {
  const id = randomUUID();
  let runs = 0;
  let started: () => void = () => undefined;
  return {
    id,
    get runs() {
      return runs;
    },
    /** Resolves when the first run reaches `middle`. */
    started: new Promise<void>((resolve) => {
      started = resolve;
    }),
    async run(tx: Queries): Promise<StoredResponse<unknown>> {
      runs += 1;
      await tx.execute(sql`insert into made values (${id})`);
      started();
      await middle(tx);
      return { body: { made: id, run: runs }, version: 3, location: `/made/${id}` };
    },
  };
}

/** Starts a first request that waits in its work until it is released; then it calls `end`. */
async function holdFirst(database: Database, end: () => void = () => undefined) {
  const request = keyed();
  const gate = createGate();
  const work = createWork(async () => {
    await gate.pass();
    end();
  });
  const first = runIdempotent(database, request, work.run);
  await Promise.race([work.started, first]);
  return { request, work, first, release: gate.open };
}

const fail = () => {
  throw new Error('failed');
};

const isInUse = (error: unknown) =>
  isFailure('idempotency-key-in-use')(error) && error.retryAfterSeconds === 1;

/** Asserts that a request is rejected before its deadline, after most of its time. */
async function assertInUseBeforeDeadline(request: () => Promise<unknown>): Promise<void> {
  const deadline = Deadline.after(1000);
  await runInContext({ correlationId: 'test', deadline }, () => assert.rejects(request(), isInUse));
  const remaining = deadline.remainingMs();
  assert.ok(remaining > 0 && remaining < 500, `${remaining} ms remaining`);
}

async function countMade(database: Database, id: string): Promise<unknown> {
  const [row] = await database.query((db) =>
    rowsOf<{ n: number }>(db, sql`select count(*) as n from made where id = ${id}`),
  );
  return row?.n;
}

/** Sets the age of a key. */
async function setAge(database: Database, { key }: KeyedRequest, interval: string): Promise<void> {
  await database.transaction((tx) =>
    tx.execute(
      sql`update idempotency_keys set created_at = now() - ${interval}::interval where key = ${key}`,
    ),
  );
}

async function prepare(database: Database): Promise<void> {
  await createKeyTable(database);
  await database.transaction((tx) => tx.execute(sql`create table made (id text)`));
}

/** Asserts that concurrent requests run the work once, after `failures` failed runs. */
async function runsExactlyOnce(replicas: readonly Database[], count: number, failures: number) {
  const [database] = replicas;
  assert.ok(database);
  const request = keyed();
  let remaining = failures;
  const work = createWork(async () => {
    await new Promise(setImmediate);
    remaining -= 1;
    if (remaining >= 0) throw new Error('failed');
  });
  const outcomes = await Promise.allSettled(
    Array.from({ length: count }, (_, n) =>
      runIdempotent(replicas[n % replicas.length] ?? database, request, work.run),
    ),
  );
  const rejected = outcomes.filter(({ status }) => status === 'rejected');
  const responses = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const succeeded = failures < count ? 1 : 0;
  assert.equal(rejected.length, Math.min(failures, count));
  // A repeat in another replica runs the work too, and is rolled back.
  if (replicas.length === 1) assert.equal(work.runs, rejected.length + succeeded);
  assert.equal(await countMade(database, work.id), succeeded);
  assert.equal(responses.filter(({ replayed }) => !replayed).length, succeeded);
  const made = responses.find(({ replayed }) => !replayed)?.body;
  for (const { body } of responses) assert.deepEqual(body, made);
}

const crowd = [fc.integer({ min: 1, max: 24 }), fc.nat({ max: 4 })] as const;

describeOnEachEngine('idempotency', {}, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await prepare(database);
  });

  it('replays the first response without running the work again', async () => {
    const request = keyed();
    const work = createWork();
    const first = await runIdempotent(database, request, work.run);
    const repeat = await runIdempotent(database, { ...request }, work.run);
    assert.deepEqual(first, {
      body: { made: work.id, run: 1 },
      version: 3,
      location: `/made/${work.id}`,
      replayed: false,
    });
    assert.deepEqual(repeat, { ...first, replayed: true });
    assert.deepEqual(await findStoredResponse(database, request), repeat);
    assert.equal(await countMade(database, work.id), 1);
  });

  it('replays the body as the same JSON text', async () => {
    const request = keyed();
    const odd = { z: 1, a: '\u0000 \ud800 "\\ é', '10': null, nested: [{}, [], 0.1, 1e21, -5] };
    const first = await runIdempotent(database, request, async () => ({ body: odd }));
    const repeat = await runIdempotent(database, request, () => assert.fail('ran again'));
    assert.equal(JSON.stringify(repeat.body), JSON.stringify(first.body));
  });

  it('compares bodies regardless of member order, and rejects different ones', async () => {
    const request = keyed();
    const work = createWork();
    await runIdempotent(database, request, work.run);
    const same = { to: { lines: ['a', 'b'], city: 'Graz' }, quantity: 2, product: 'Desk' };
    assert.equal((await runIdempotent(database, { ...request, body: same }, work.run)).replayed, true);
    for (const other of [
      { ...body, quantity: 3 },
      { ...body, quantity: '2' },
      { ...body, to: { city: 'Graz', lines: ['b', 'a'] } },
      { ...body, more: null },
      undefined,
      null,
    ]) {
      const repeat = { ...request, body: other };
      await assert.rejects(runIdempotent(database, repeat, work.run), isFailure('idempotency-key-reused'));
      await assert.rejects(findStoredResponse(database, repeat), isFailure('idempotency-key-reused'));
    }
    assert.equal(work.runs, 1);
  });

  it('accepts requests without a body', async () => {
    const request = keyed({ body: undefined });
    const work = createWork();
    await runIdempotent(database, request, work.run);
    assert.equal((await runIdempotent(database, request, work.run)).replayed, true);
  });

  it('stores nothing if the work fails, so that a repeat runs it', async () => {
    const request = keyed();
    const failing = createWork(() => {
      throw new Failure('user-not-found');
    });
    await assert.rejects(runIdempotent(database, request, failing.run), isFailure('user-not-found'));
    assert.equal(await countMade(database, failing.id), 0);
    assert.equal(await findStoredResponse(database, request), undefined);
    const work = createWork();
    const repeat = await runIdempotent(database, { ...request, body: 'another' }, work.run);
    assert.equal(repeat.replayed, false);
    assert.equal(await countMade(database, work.id), 1);
  });

  it('does not run a use case again, so that its checks cannot fail for a repeat', async () => {
    const request = keyed();
    const work = createWork();
    const first = await runIdempotent(database, request, work.run);
    const idempotency = createIdempotency(database);
    const repeat = idempotency.run(request, () => assert.fail('ran again'), fail);
    assert.deepEqual(await repeat, { ...first, replayed: true });
  });

  it('rejects a use case that does not write through `once`', async () => {
    const idempotency = createIdempotency(database);
    const running = idempotency.run(
      keyed(),
      async () => 1,
      (value) => ({ body: value }),
    );
    await assert.rejects(running, /did not write through `once`/);
  });

  it('gives the claim of the key time also if the use case took long before its transaction', async () => {
    await database.transaction((tx) =>
      tx.execute(
        sql`alter table idempotency_keys add column claim_timeout text default current_setting('statement_timeout')`,
      ),
    );
    const request = keyed();
    const work = createWork();
    const deadline = Deadline.after(100);
    await runInContext({ correlationId: 'test', deadline }, () =>
      createIdempotency(database).run<StoredResponse<unknown>, unknown>(
        request,
        async (once) => {
          await wait(100);
          deadline.extend(60_000);
          return database.transaction((tx) => once(tx, () => work.run(tx)));
        },
        (response) => response,
      ),
    );
    const [row] = await database.query((db) =>
      rowsOf<{ timeout: string }>(
        db,
        sql`select claim_timeout as timeout from idempotency_keys where key = ${request.key}`,
      ),
    );
    assert.ok(row);
    assert.notEqual(row.timeout, '1ms');
  });

  it('separates keys by caller, method and path', async () => {
    const request = keyed();
    const work = createWork();
    const others = [request, { caller: 'bob' }, { method: 'PUT' }, { path: '/api/users' }];
    for (const other of others) {
      assert.equal((await runIdempotent(database, { ...request, ...other }, work.run)).replayed, false);
    }
    assert.equal(work.runs, others.length);
  });

  it('runs the work of each request without a key', async () => {
    const work = createWork();
    for (let round = 0; round < 2; round += 1) {
      assert.equal((await runIdempotent(database, undefined, work.run)).replayed, false);
    }
    assert.equal(await countMade(database, work.id), 2);
    assert.equal(await findStoredResponse(database, undefined), undefined);
  });

  it('makes a concurrent duplicate wait for the first response', async () => {
    const { request, work, first, release } = await holdFirst(database);
    const duplicate = runIdempotent(database, request, work.run);
    const other = runIdempotent(database, { ...request, body: 'another' }, work.run);
    release();
    assert.deepEqual(await duplicate, { ...(await first), replayed: true });
    await assert.rejects(other, isFailure('idempotency-key-reused'));
    assert.equal(work.runs, 1);
  });

  it('has a span of the wait for a duplicate', async () => {
    const { first, request, work, release } = await holdFirst(database);
    const { context, children } = recordedRequest();
    const duplicate = runInContext(context, () => runIdempotent(database, request, work.run));
    await eventually(() => children().some(({ key }) => key === 'duplicate'));
    release();
    await Promise.all([first, duplicate]);
    const spans = children().filter(({ key }) => key === 'duplicate');
    assert.deepEqual(
      spans.map(({ parent, ended, failed }) => [parent, ended, failed]),
      [[context.traceparent, true, false]],
    );
  });

  it('runs the work of a duplicate if the first fails', async () => {
    const { request, first, release } = await holdFirst(database, fail);
    const work = createWork();
    const duplicates = Promise.all([
      runIdempotent(database, request, work.run),
      runIdempotent(database, request, work.run),
    ]);
    release();
    await assert.rejects(first, /failed/);
    assert.deepEqual((await duplicates).map(({ replayed }) => replayed).sort(), [false, true]);
    assert.equal(work.runs, 1);
  });

  it('reads the key once for each request, also after a duplicate that failed', async () => {
    let reads = 0;
    const counting: Database = {
      ...database,
      query: (work) => {
        reads += 1;
        return database.query(work);
      },
    };
    const { request, first, release } = await holdFirst(counting, fail);
    const work = createWork();
    const duplicates = [1, 2].map(() => runIdempotent(counting, request, work.run));
    release();
    await assert.rejects(first, /failed/);
    await Promise.all(duplicates);
    assert.equal(reads, 3);
  });

  it('rejects a duplicate before its deadline if the first takes too long', async () => {
    const { request, work, first, release } = await holdFirst(database);
    const withoutDeadline = runIdempotent(database, request, work.run);
    await assertInUseBeforeDeadline(() => runIdempotent(database, request, work.run));
    const late = { correlationId: 'test', deadline: Deadline.after(0) };
    await assert.rejects(
      runInContext(late, () => runIdempotent(database, request, work.run)),
      isInUse,
    );
    release();
    assert.equal((await first).replayed, false);
    assert.equal((await withoutDeadline).replayed, true, 'other duplicates keep waiting');
  });

  it('accepts a key again after a day', async () => {
    const request = keyed();
    const work = createWork();
    await runIdempotent(database, request, work.run);
    await setAge(database, request, '23 hours 59 minutes');
    assert.equal((await runIdempotent(database, request, work.run)).replayed, true);

    await setAge(database, request, '24 hours 1 minute');
    const another = { ...request, body: 'another' };
    assert.equal(await findStoredResponse(database, another), undefined);
    const failing = createWork(fail);
    await assert.rejects(runIdempotent(database, another, failing.run), /failed/);
    const responses = await Promise.all([1, 2, 3].map(() => runIdempotent(database, another, work.run)));
    assert.deepEqual(responses.map(({ replayed }) => replayed).sort(), [false, true, true]);
    assert.equal(work.runs, 2);
    await assert.rejects(runIdempotent(database, request, work.run), isFailure('idempotency-key-reused'));
  });

  it('runs the work exactly once for concurrent requests after any failures', async () => {
    await fc.assert(
      fc.asyncProperty(...crowd, (count, failures) => runsExactlyOnce([database], count, failures)),
      { numRuns: concurrentRuns(database, 20) },
    );
  });
});

describeOnEachEngine('idempotency across replicas', { engines: ['postgres'] }, (openDatabase) => {
  const replicas: PostgresDatabase[] = [];
  let firstReplica: PostgresDatabase;
  let secondReplica: PostgresDatabase;
  /** Has a short statement timeout. */
  let shortTimeout: PostgresDatabase;
  /** Has a short lock timeout. */
  let shortLockTimeout: PostgresDatabase;

  before(async () => {
    const database = await openDatabase();
    await prepare(database);
    const url = await urlOf(database);
    const connect = (statementTimeoutMs: number, settings = '') => {
      const replica = openPostgres({
        url: url + settings,
        statementTimeoutMs,
        poolSize: 3,
        connectTimeoutMs: 5000,
        preparedStatements: true,
        logger: silentLogger(),
      });
      replicas.push(replica);
      return replica;
    };
    [firstReplica, secondReplica, shortTimeout] = [connect(30_000), connect(30_000), connect(300)];
    shortLockTimeout = connect(30_000, '?options=-c%20lock_timeout%3D50');
  });
  after(async () => {
    for (const replica of replicas) await replica.close();
  });

  it('makes a duplicate wait for another process, longer than the statement timeout', async () => {
    const { request, work, first, release } = await holdFirst(firstReplica);
    const duplicate = runIdempotent(shortTimeout, request, work.run);
    await untilWaiting(firstReplica, 1);
    await wait(500);
    release();
    assert.deepEqual(await duplicate, { ...(await first), replayed: true });
    assert.equal(await countMade(firstReplica, work.id), 1);
  });

  it('runs the work of a duplicate if the first in another process fails', async () => {
    const { request, first, release } = await holdFirst(firstReplica, fail);
    const work = createWork();
    const duplicate = runIdempotent(secondReplica, request, work.run);
    await untilWaiting(firstReplica, 1);
    release();
    await assert.rejects(first, /failed/);
    assert.equal((await duplicate).replayed, false);
    assert.equal(await countMade(firstReplica, work.id), 1);
  });

  it('rejects a duplicate if the first in another process takes too long', async () => {
    const { request, work, first, release } = await holdFirst(firstReplica);
    await assertInUseBeforeDeadline(() => runIdempotent(secondReplica, request, work.run));
    await assert.rejects(runIdempotent(shortLockTimeout, request, work.run), isInUse);
    release();
    await first;
    assert.equal(secondReplica.pool.size, secondReplica.pool.idle);
  });

  it('rejects a duplicate before its connection counts as dead, for any deadline', async () => {
    const { request, work, first, release } = await holdFirst(firstReplica);
    const size = shortTimeout.pool.size;
    const duplicate = runInContext({ correlationId: 'test', deadline: Deadline.after(60_000) }, () =>
      runIdempotent(shortTimeout, request, work.run),
    );
    await assert.rejects(duplicate, isInUse);
    release();
    await first;
    assert.deepEqual(
      [shortTimeout.pool.idle, shortTimeout.pool.size],
      [shortTimeout.pool.size, Math.max(1, size)],
    );
  });

  it('does not change the timeouts of the work', async () => {
    async function limits(tx: Queries): Promise<[string, string]> {
      const [row] = await rowsOf<{ statement: string; lock: string }>(
        tx,
        sql`select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock`,
      );
      assert.ok(row);
      return [row.statement, row.lock];
    }
    let seen: unknown;
    const readLimits = createWork(async (tx) => {
      seen = await limits(tx);
    });
    await runIdempotent(shortTimeout, keyed(), readLimits.run);
    assert.deepEqual(seen, ['300ms', '0']);
    // The remaining deadline can limit a transaction further.
    await runInContext({ correlationId: 'test', deadline: Deadline.after(250) }, async () => {
      const [transactionTimeout] = await shortTimeout.transaction(limits);
      await runIdempotent(shortTimeout, keyed(), readLimits.run);
      const [statement] = seen as [string, string];
      assert.ok(
        Number.parseInt(statement, 10) <= Number.parseInt(transactionTimeout, 10),
        `${statement}, not ${transactionTimeout}`,
      );
    });
    const slow = createWork((tx) => tx.execute(sql`select pg_sleep(5)`));
    await assert.rejects(runIdempotent(shortTimeout, keyed(), slow.run), isFailure('database-unavailable'));
  });

  it('leaves connections for other requests while duplicates wait', async () => {
    const { request, work, first, release } = await holdFirst(firstReplica);
    const duplicates = [firstReplica, secondReplica].flatMap((replica) =>
      Array.from({ length: 20 }, () => runIdempotent(replica, request, work.run)),
    );
    await untilWaiting(firstReplica, 1);
    for (const replica of [firstReplica, secondReplica]) {
      assert.equal((await runIdempotent(replica, keyed(), createWork().run)).replayed, false);
      assert.equal(replica.pool.waiting, 0);
    }
    release();
    await first;
    for (const duplicate of duplicates) assert.equal((await duplicate).replayed, true);
    assert.equal(await countMade(firstReplica, work.id), 1);
  });

  it('runs the work exactly once for concurrent requests to several replicas', async () => {
    await fc.assert(
      fc.asyncProperty(...crowd, (count, failures) =>
        runsExactlyOnce([firstReplica, secondReplica], count, failures),
      ),
      { numRuns: 20 },
    );
  });
});
