import assert from 'node:assert/strict';
import { afterEach, before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { createGate, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { type SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import { createThingTables, eventTables, makeThing, rowsIn } from '../testing/things.ts';
import { eventMetrics } from './event-metrics.ts';
import { wakingAfterCommit } from './outbox.ts';
import { type Relay, type RelayOptions, startRelay } from './relay.ts';
import { type OutgoingEvent, SendError } from './transport.ts';

const quick = { baseMs: 5, maxMs: 20 };

describeOnEachEngine('relay', { migrations: eventTables }, (openDatabase) => {
  let database: Database;
  let relays: Relay[] = [];

  before(async () => {
    database = await openDatabase();
    await createThingTables(database);
  });
  beforeEach(() => database.query((db) => db.execute(sql`truncate outbox, dead_letters, things`)));
  afterEach(async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
    relays = [];
  });

  function start(send: (event: OutgoingEvent) => Promise<void>, options: Partial<RelayOptions> = {}): Relay {
    const relay = startRelay({
      database,
      transport: { send },
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
      pollMs: 50,
      eventBackoff: quick,
      transportBackoff: quick,
      ...options,
    });
    relays.push(relay);
    return relay;
  }

  const nameOf = ({ subject, text }: OutgoingEvent) => `${subject} v${Number(JSON.parse(text).sequence)}`;
  const pending = async () => {
    const [row] = await rowsIn<{ n: number }>(
      database,
      sql`select count(*) as n from outbox where sent_at is null`,
    );
    return row?.n ?? Number.NaN;
  };
  const allSent = () => eventually(async () => (await pending()) === 0, 'an empty outbox');

  it('sends each event once, in the order of its subject', async () => {
    const sent: string[] = [];
    for (let n = 0; n < 30; n += 1) await makeThing(database, n % 3);
    start(async (event) => void sent.push(nameOf(event)));
    await allSent();
    for (const id of [0, 1, 2]) {
      assert.deepEqual(
        sent.filter((name) => name.startsWith(`things/${id} `)),
        Array.from({ length: 10 }, (_, n) => `things/${id} v${n + 1}`),
      );
    }
  });

  it('sends events of its own process at once and events of other processes after the poll interval', async () => {
    const sent: string[] = [];
    const relay = start(async (event) => void sent.push(nameOf(event)), { pollMs: 3_600_000 });
    await eventually(async () => sent.length === 0);
    await makeThing(wakingAfterCommit(database, relay.wake), 1);
    await eventually(() => sent.length === 1);
    await relay.stop();
    start(async (event) => void sent.push(nameOf(event)));
    await makeThing(database, 2);
    await eventually(() => sent.length === 2);
  });

  it('sends an event whose wake-up arrives during a claim that did not find it', async () => {
    const sent: string[] = [];
    const [claimReturned, released] = [createGate(), createGate()];
    // Holds back the result of the first claim.
    const holding: Database = {
      ...database,
      async query(work) {
        const result = await database.query(work);
        claimReturned.open();
        await released.pass();
        return result;
      },
    };
    const relay = start(async (event) => void sent.push(nameOf(event)), {
      database: holding,
      pollMs: 3_600_000,
    });
    await claimReturned.pass();
    await makeThing(wakingAfterCommit(database, relay.wake), 1);
    released.open();
    await eventually(() => sent.length === 1);
  });

  it('marks only acknowledged events as sent', async (context) => {
    const acknowledged = createGate();
    context.after(acknowledged.open);
    const sent: string[] = [];
    for (const id of [1, 2, 3]) await makeThing(database, id);
    start(async (event) => {
      if (nameOf(event) === 'things/1 v1') await acknowledged.pass();
      sent.push(nameOf(event));
    });
    // The other events are marked, so the relay has finished a cycle.
    await eventually(async () => (await pending()) === 1);
    assert.deepEqual(sent.toSorted(), ['things/2 v1', 'things/3 v1']);
    await makeThing(database, 4);
    await eventually(() => sent.length === 3);
    assert.ok((await pending()) >= 1);
    acknowledged.open();
    await allSent();
  });

  it('blocks only the subject of a failing event', async () => {
    let poisoned = true;
    const sent: string[] = [];
    for (const id of [1, 1, 2, 3]) await makeThing(database, id);
    start(async (event) => {
      if (poisoned && nameOf(event) === 'things/1 v1') throw new SendError('failed', 'the sink returned 500');
      sent.push(nameOf(event));
    });
    await eventually(() => sent.length === 2);
    await makeThing(database, 4);
    await eventually(() => sent.length === 3);
    assert.deepEqual(sent.toSorted(), ['things/2 v1', 'things/3 v1', 'things/4 v1']);
    poisoned = false;
    await allSent();
    assert.deepEqual(sent.slice(3), ['things/1 v1', 'things/1 v2']);
  });

  it('retries one event at a time while the transport is unavailable, then sends all', async () => {
    let unavailable = true;
    let attempts = 0;
    let inFlight = 0;
    const sent: string[] = [];
    for (let id = 0; id < 20; id += 1) await makeThing(database, id);
    start(async (event) => {
      inFlight += 1;
      await new Promise(setImmediate);
      const concurrent = inFlight;
      inFlight -= 1;
      if (!unavailable) return void sent.push(nameOf(event));
      attempts += 1;
      if (attempts > 20) assert.equal(concurrent, 1, 'after the first failures one event probes');
      throw new SendError('unavailable', 'connection refused');
    });
    await eventually(() => attempts > 26);
    unavailable = false;
    await allSent();
    assert.equal(new Set(sent).size, 20);
    assert.equal(sent.length, 20);
  });

  it('dead-letters a rejected event with its reason and continues with its subject', async () => {
    const sent: string[] = [];
    for (const id of [1, 1]) await makeThing(database, id);
    const metrics = testMetrics();
    start(
      async (event) => {
        if (nameOf(event) === 'things/1 v1') throw new SendError('rejected', 'the sink returned 400');
        sent.push(nameOf(event));
      },
      { metrics: eventMetrics(metrics.registry) },
    );
    await allSent();
    assert.deepEqual(sent, ['things/1 v2']);
    const letters = await rowsIn(database, sql`select side, subject, error from dead_letters`);
    assert.deepEqual(letters, [{ side: 'sending', subject: 'things/1', error: 'the sink returned 400' }]);
    const { body } = await metrics.render();
    assert.match(body, /^events_dead_lettered_total\{side="sending",type="zerda.thing.made.v1"\} 1$/m);
    assert.match(body, /^events_sent_total\{type="zerda.thing.made.v1"\} 1$/m);
  });

  it('replicas send each event once and each subject in order', async () => {
    const sent: string[] = [];
    const send = async (event: OutgoingEvent) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
      sent.push(nameOf(event));
    };
    for (let count = 0; count < 3; count += 1) start(send, { maxInFlight: 4 });
    const writing = Array.from({ length: 8 }, async (_, id) => {
      for (let count = 0; count < 12; count += 1) await makeThing(database, id);
    });
    await Promise.all(writing);
    await allSent();
    assert.equal(sent.length, 96);
    for (let id = 0; id < 8; id += 1) {
      assert.deepEqual(
        sent.filter((name) => name.startsWith(`things/${id} `)),
        Array.from({ length: 12 }, (_, n) => `things/${id} v${n + 1}`),
      );
    }
  });

  it('sends an event again after the lease of a killed relay expired', async () => {
    await makeThing(database, 1);
    // The state that a killed relay leaves.
    await database.query((db) =>
      db.execute(sql`update outbox set claimed_until = now() + interval '200 milliseconds', attempts = 1`),
    );
    const sent: string[] = [];
    start(async (event) => void sent.push(nameOf(event)));
    await allSent();
    assert.deepEqual(sent, ['things/1 v1']);
  });

  it('stops after sent events are marked and claims no new ones', async () => {
    await makeThing(database, 1);
    const acknowledged = createGate();
    let sending = 0;
    const relay = start(() => {
      sending += 1;
      return acknowledged.pass();
    });
    await eventually(() => sending === 1);
    const stopped = relay.stop();
    await makeThing(database, 2);
    relay.wake();
    acknowledged.open();
    await stopped;
    assert.deepEqual([sending, await pending()], [1, 1]);
  });

  it('stops after stopMs although a sink hangs', async () => {
    await makeThing(database, 1);
    let sending = false;
    const relay = start(
      () => {
        sending = true;
        return new Promise(() => undefined);
      },
      { stopMs: 20 },
    );
    await eventually(() => sending);
    await relay.stop();
    assert.equal(await pending(), 1);
  });

  it('counts and records each send once if any of its statements fails', async () => {
    for (const failing of [
      /set sent_at/,
      /insert into dead_letters/,
      /set claimed_until = now\(\) \+ postponed/,
    ]) {
      await database.query((db) => db.execute(sql`truncate outbox, dead_letters`));
      const counts = { sent: 0, retried: 0, deadLettered: 0, failures: 2 };
      const dialect = new PgDialect();
      const flaky: Database = {
        ...database,
        query: (work) =>
          database.query((db) =>
            work(
              new Proxy(db, {
                get(target, name, receiver) {
                  if (name !== 'execute') return Reflect.get(target, name, receiver);
                  return async (query: SQL) => {
                    if (counts.failures > 0 && failing.test(dialect.sqlToQuery(query).sql)) {
                      counts.failures -= 1;
                      throw new Error('database unavailable');
                    }
                    return target.execute(query);
                  };
                },
              }),
            ),
          ),
      };
      const add = (name: keyof typeof counts) => () => {
        counts[name] += 1;
      };
      const errors = new Map([
        ['things/2 v1', new SendError('rejected', 'never')],
        ['things/3 v1', new SendError('failed', 'not now')],
      ]);
      for (const id of [1, 2, 3, 4]) await makeThing(database, id);
      const allArrived = createGate();
      let arrived = 0;
      const relay = start(
        async (event) => {
          arrived += 1;
          if (arrived === 4) allArrived.open();
          await allArrived.pass();
          const error = errors.get(nameOf(event));
          errors.delete(nameOf(event));
          if (error !== undefined) throw error;
        },
        {
          database: flaky,
          metrics: {
            ...eventMetrics(testMetrics().registry),
            sent: add('sent'),
            retried: add('retried'),
            deadLettered: add('deadLettered'),
          },
        },
      );
      await allSent();
      await relay.stop();
      assert.deepEqual(counts, { sent: 3, retried: 1, deadLettered: 1, failures: 0 }, String(failing));
      await database.query((db) => db.execute(sql`truncate things`));
    }
  });

  it('resumes after the database was unavailable', async () => {
    let unavailable = true;
    let queries = 0;
    const sent: string[] = [];
    await makeThing(database, 1);
    start(async (event) => void sent.push(nameOf(event)), {
      database: {
        ...database,
        query(work) {
          queries += 1;
          return unavailable ? Promise.reject(new Error('database unavailable')) : database.query(work);
        },
      },
    });
    await eventually(() => queries > 2);
    unavailable = false;
    await allSent();
    assert.deepEqual(sent, ['things/1 v1']);
  });
});
