import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import type { Database, Queries } from '../database/database.ts';
import { openPostgres, type PostgresDatabase } from '../database/postgres-database.ts';
import { rowsOf } from '../database/rows-of.ts';
import { describeOnEachEngine, untilWaiting, urlOf } from '../database/testing.ts';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import { runInContext } from '../request-context.ts';
import { createGate, isFailure, silentLogger } from '../testing.ts';
import { findKept, type KeptAnswer, type KeyedRequest, once } from './idempotency.ts';
import { createKeyTable } from './testing-keys.ts';

const body = { product: 'Desk', quantity: 2, to: { city: 'Graz', lines: ['a', 'b'] } };

function keyed(given: Partial<KeyedRequest> = {}): KeyedRequest {
  return { key: randomUUID(), caller: 'alice', method: 'POST', path: '/api/orders', body, ...given };
}

/** Work that leaves a row, counts its runs, and may wait in the middle or fail. */
function createWork(middle: (tx: Queries) => unknown = () => undefined) {
  const id = randomUUID();
  let runs = 0;
  let begun: () => void = () => undefined;
  return {
    id,
    get runs() {
      return runs;
    },
    /** Resolves when the first run is in the middle. */
    begun: new Promise<void>((resolve) => {
      begun = resolve;
    }),
    async run(tx: Queries): Promise<KeptAnswer<unknown>> {
      runs += 1;
      await tx.execute(sql`insert into made values (${id})`);
      begun();
      await middle(tx);
      return { body: { made: id, run: runs }, version: 3, location: `/made/${id}` };
    },
  };
}

/** A first request of its key, in the middle of its work until it is released; then it does `end`. */
async function holdFirst(database: Database, end: () => void = () => undefined) {
  const request = keyed();
  const gate = createGate();
  const work = createWork(async () => {
    await gate.pass();
    end();
  });
  const first = once(database, request, work.run);
  await Promise.race([work.begun, first]);
  return { request, work, first, release: gate.open };
}

const fail = () => {
  throw new Error('failed');
};

const isInUse = (error: unknown) =>
  isFailure('idempotency-key-in-use')(error) && error.headers['Retry-After'] === '1';

/** Holds when the request is refused after most of its time, with some left to say so. */
async function refusedInTime(request: () => Promise<unknown>): Promise<void> {
  const deadline = Deadline.after(1000);
  await runInContext({ correlationId: 'test', deadline }, () => assert.rejects(request(), isInUse));
  const left = deadline.remainingMs();
  assert.ok(left > 0 && left < 500, `${left} ms were left`);
}

async function countMade(database: Database, id: string): Promise<unknown> {
  const [row] = await database.read((db) =>
    rowsOf<{ n: number }>(db, sql`select count(*) as n from made where id = ${id}`),
  );
  return row?.n;
}

/** Makes the key as old as an interval of SQL says. */
async function age(database: Database, { key }: KeyedRequest, interval: string): Promise<void> {
  await database.write((tx) =>
    tx.execute(
      sql`update idempotency_keys set created_at = now() - ${interval}::interval where key = ${key}`,
    ),
  );
}

async function prepare(database: Database): Promise<void> {
  await createKeyTable(database);
  await database.write((tx) => tx.execute(sql`create table made (id text)`));
}

/** Holds for any number of requests at once, of which the first `failures` runs of the work fail. */
async function runsExactlyOnce(replicas: readonly Database[], count: number, failures: number) {
  const [database] = replicas;
  assert.ok(database);
  const request = keyed();
  let left = failures;
  const work = createWork(async () => {
    await new Promise(setImmediate);
    left -= 1;
    if (left >= 0) throw new Error('failed');
  });
  const outcomes = await Promise.allSettled(
    Array.from({ length: count }, (_, n) =>
      once(replicas[n % replicas.length] ?? database, request, work.run),
    ),
  );
  const refused = outcomes.filter(({ status }) => status === 'rejected');
  const answers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const succeeded = failures < count ? 1 : 0;
  assert.equal(refused.length, Math.min(failures, count));
  assert.equal(work.runs, refused.length + succeeded);
  assert.equal(await countMade(database, work.id), succeeded);
  assert.equal(answers.filter(({ replayed }) => !replayed).length, succeeded);
  for (const answer of answers) assert.deepEqual(answer.body, { made: work.id, run: work.runs });
}

const crowd = [fc.integer({ min: 1, max: 24 }), fc.nat({ max: 4 })] as const;

describeOnEachEngine('idempotency', {}, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    await prepare(database);
  });

  it('answers a repeat as the first request was answered, without doing it again', async () => {
    const request = keyed();
    const work = createWork();
    const first = await once(database, request, work.run);
    const repeat = await once(database, { ...request }, work.run);
    assert.deepEqual(first, {
      ...{ body: { made: work.id, run: 1 }, version: 3, location: `/made/${work.id}` },
      replayed: false,
    });
    assert.deepEqual(repeat, { ...first, replayed: true });
    assert.deepEqual(await findKept(database, request), repeat);
    assert.equal(await countMade(database, work.id), 1);
  });

  it('answers a repeat with the very text of the first answer', async () => {
    const request = keyed();
    const odd = { z: 1, a: '\u0000 \ud800 "\\ é', '10': null, nested: [{}, [], 0.1, 1e21, -5] };
    const first = await once(database, request, async () => ({ body: odd }));
    const repeat = await once(database, request, () => assert.fail('ran again'));
    assert.equal(JSON.stringify(repeat.body), JSON.stringify(first.body));
  });

  it('takes bodies for the same when they mean the same, and for others when they do not', async () => {
    const request = keyed();
    const work = createWork();
    await once(database, request, work.run);
    const same = { to: { lines: ['a', 'b'], city: 'Graz' }, quantity: 2, product: 'Desk' };
    assert.equal((await once(database, { ...request, body: same }, work.run)).replayed, true);
    for (const other of [
      { ...body, quantity: 3 },
      { ...body, quantity: '2' },
      { ...body, to: { city: 'Graz', lines: ['b', 'a'] } },
      { ...body, more: null },
      undefined,
      null,
    ]) {
      const repeat = { ...request, body: other };
      await assert.rejects(once(database, repeat, work.run), isFailure('idempotency-key-reused'));
      await assert.rejects(findKept(database, repeat), isFailure('idempotency-key-reused'));
    }
    assert.equal(work.runs, 1);
  });

  it('takes requests without a body', async () => {
    const request = keyed({ body: undefined });
    const work = createWork();
    await once(database, request, work.run);
    assert.equal((await once(database, request, work.run)).replayed, true);
  });

  it('keeps nothing of work that failed: the repeat does it', async () => {
    const request = keyed();
    const failing = createWork(() => {
      throw new Failure('user-not-found');
    });
    await assert.rejects(once(database, request, failing.run), isFailure('user-not-found'));
    assert.equal(await countMade(database, failing.id), 0);
    assert.equal(await findKept(database, request), undefined);
    const work = createWork();
    const repeat = await once(database, { ...request, body: 'another' }, work.run);
    assert.equal(repeat.replayed, false);
    assert.equal(await countMade(database, work.id), 1);
  });

  it('keeps keys apart by caller, method and path', async () => {
    const request = keyed();
    const work = createWork();
    const others = [request, { caller: 'bob' }, { method: 'PUT' }, { path: '/api/users' }];
    for (const other of others) {
      assert.equal((await once(database, { ...request, ...other }, work.run)).replayed, false);
    }
    assert.equal(work.runs, others.length);
  });

  it('does the work of a request without a key each time', async () => {
    const work = createWork();
    for (let round = 0; round < 2; round += 1) {
      assert.equal((await once(database, undefined, work.run)).replayed, false);
    }
    assert.equal(await countMade(database, work.id), 2);
    assert.equal(await findKept(database, undefined), undefined);
  });

  it('lets a twin wait for the first, and answers it likewise', async () => {
    const { request, work, first, release } = await holdFirst(database);
    const twin = once(database, request, work.run);
    const other = once(database, { ...request, body: 'another' }, work.run);
    release();
    assert.deepEqual(await twin, { ...(await first), replayed: true });
    await assert.rejects(other, isFailure('idempotency-key-reused'));
    assert.equal(work.runs, 1);
  });

  it('lets a twin do the work when the first fails', async () => {
    const { request, first, release } = await holdFirst(database, fail);
    const work = createWork();
    const twins = Promise.all([once(database, request, work.run), once(database, request, work.run)]);
    release();
    await assert.rejects(first, /failed/);
    assert.deepEqual((await twins).map(({ replayed }) => replayed).sort(), [false, true]);
    assert.equal(work.runs, 1);
  });

  it('refuses a twin for which the first takes too long, while it still has time to answer', async () => {
    const { request, work, first, release } = await holdFirst(database);
    const patient = once(database, request, work.run);
    await refusedInTime(() => once(database, request, work.run));
    const late = { correlationId: 'test', deadline: Deadline.after(0) };
    await assert.rejects(
      runInContext(late, () => once(database, request, work.run)),
      isInUse,
    );
    release();
    assert.equal((await first).replayed, false);
    assert.equal((await patient).replayed, true, 'others wait on');
  });

  it('takes a key for new when it is older than a day', async () => {
    const request = keyed();
    const work = createWork();
    await once(database, request, work.run);
    await age(database, request, '23 hours 59 minutes');
    assert.equal((await once(database, request, work.run)).replayed, true);

    await age(database, request, '24 hours 1 minute');
    const another = { ...request, body: 'another' };
    assert.equal(await findKept(database, another), undefined);
    const failing = createWork(fail);
    await assert.rejects(once(database, another, failing.run), /failed/);
    const answers = await Promise.all([1, 2, 3].map(() => once(database, another, work.run)));
    assert.deepEqual(answers.map(({ replayed }) => replayed).sort(), [false, true, true]);
    assert.equal(work.runs, 2);
    await assert.rejects(once(database, request, work.run), isFailure('idempotency-key-reused'));
  });

  it('does the work exactly once however many requests come at once, whatever fails before', async () => {
    await fc.assert(
      fc.asyncProperty(...crowd, (count, failures) => runsExactlyOnce([database], count, failures)),
      { numRuns: 20 },
    );
  });
});

describeOnEachEngine('idempotency of replicas', { engines: ['postgres'] }, (open) => {
  const replicas: PostgresDatabase[] = [];
  let one: PostgresDatabase;
  let two: PostgresDatabase;
  /** Ends statements soon. */
  let hasty: PostgresDatabase;
  /** Is told by its server not to wait long for locks. */
  let strict: PostgresDatabase;

  before(async () => {
    const database = await open();
    await prepare(database);
    const url = await urlOf(database);
    const connect = (statementTimeoutMs: number, settings = '') => {
      const replica = openPostgres({
        ...{ url: url + settings, statementTimeoutMs, poolSize: 3, connectTimeoutMs: 5000 },
        preparedStatements: true,
        logger: silentLogger(),
      });
      replicas.push(replica);
      return replica;
    };
    [one, two, hasty] = [connect(30_000), connect(30_000), connect(300)];
    strict = connect(30_000, '?options=-c%20lock_timeout%3D50');
  });
  after(async () => {
    for (const replica of replicas) await replica.close();
  });

  it('lets a twin wait for the first of another process, longer than a statement may take', async () => {
    const { request, work, first, release } = await holdFirst(one);
    const twin = once(hasty, request, work.run);
    await untilWaiting(one, 1);
    await wait(500);
    release();
    assert.deepEqual(await twin, { ...(await first), replayed: true });
    assert.equal(work.runs, 1);
  });

  it('lets a twin do the work when the first of another process fails', async () => {
    const { request, first, release } = await holdFirst(one, fail);
    const work = createWork();
    const twin = once(two, request, work.run);
    await untilWaiting(one, 1);
    release();
    await assert.rejects(first, /failed/);
    assert.equal((await twin).replayed, false);
    assert.equal(await countMade(one, work.id), 1);
  });

  it('refuses a twin for which the first of another process takes too long', async () => {
    const { request, work, first, release } = await holdFirst(one);
    await refusedInTime(() => once(two, request, work.run));
    await assert.rejects(once(strict, request, work.run), isInUse);
    release();
    await first;
    assert.equal(two.pool.size, two.pool.idle);
  });

  it('refuses a twin before the connection that it waits on counts as dead, however long the request may take', async () => {
    const { request, work, first, release } = await holdFirst(one);
    const size = hasty.pool.size;
    const twin = runInContext({ correlationId: 'test', deadline: Deadline.after(60_000) }, () =>
      once(hasty, request, work.run),
    );
    await assert.rejects(twin, isInUse);
    release();
    await first;
    assert.deepEqual([hasty.pool.idle, hasty.pool.size], [hasty.pool.size, Math.max(1, size)]);
  });

  it('limits the wait for the key alone: statements of the work have the time that they have without a key', async () => {
    async function limits(tx: Queries): Promise<[string, string]> {
      const [row] = await rowsOf<{ statement: string; lock: string }>(
        tx,
        sql`select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock`,
      );
      assert.ok(row);
      return [row.statement, row.lock];
    }
    let seen: unknown;
    const look = createWork(async (tx) => {
      seen = await limits(tx);
    });
    await once(hasty, keyed(), look.run);
    assert.deepEqual(seen, ['300ms', '0']);
    // A transaction can have a limit of its own, for the time that the request has left.
    await runInContext({ correlationId: 'test', deadline: Deadline.after(250) }, async () => {
      const [usual] = await hasty.write(limits);
      await once(hasty, keyed(), look.run);
      const [statement] = seen as [string, string];
      assert.ok(Number.parseInt(statement, 10) <= Number.parseInt(usual, 10), `${statement}, not ${usual}`);
    });
    const slow = createWork((tx) => tx.execute(sql`select pg_sleep(5)`));
    await assert.rejects(once(hasty, keyed(), slow.run), isFailure('database-unavailable'));
  });

  it('leaves connections for others, however many twins wait', async () => {
    const { request, work, first, release } = await holdFirst(one);
    const twins = [one, two].flatMap((replica) =>
      Array.from({ length: 20 }, () => once(replica, request, work.run)),
    );
    await untilWaiting(one, 1);
    for (const replica of [one, two]) {
      assert.equal((await once(replica, keyed(), createWork().run)).replayed, false);
      assert.equal(replica.pool.waiting, 0);
    }
    release();
    await first;
    for (const twin of twins) assert.equal((await twin).replayed, true);
    assert.equal(work.runs, 1);
  });

  it('does the work exactly once however many requests come at once to each', async () => {
    await fc.assert(
      fc.asyncProperty(...crowd, (count, failures) => runsExactlyOnce([one, two], count, failures)),
      { numRuns: 20 },
    );
  });
});
