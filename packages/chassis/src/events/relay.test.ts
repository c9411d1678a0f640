import assert from 'node:assert/strict';
import { afterEach, before, beforeEach, it } from 'node:test';
import { type SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { Database } from '../database/database.ts';
import { describeOnEachEngine } from '../database/testing.ts';
import { silentLogger, testMetrics } from '../testing.ts';
import { wakingAfterCommit } from './outbox.ts';
import { type Relay, type RelayOptions, startRelay } from './relay.ts';
import { createThings, eventTables, makeThing, rowsIn } from './testing-things.ts';
import { until } from './testing-transport.ts';
import { type OutgoingEvent, SendError } from './transport.ts';

const quick = { baseMs: 5, maxMs: 20 };

describeOnEachEngine('relay', { migrations: eventTables }, (open) => {
  let database: Database;
  let relays: Relay[] = [];

  before(async () => {
    database = await open();
    await createThings(database);
  });
  beforeEach(() => database.read((db) => db.execute(sql`truncate outbox, dead_letters, things`)));
  afterEach(async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
    relays = [];
  });

  function start(send: (event: OutgoingEvent) => Promise<void>, options: Partial<RelayOptions> = {}): Relay {
    const relay = startRelay({
      database,
      transport: { send },
      logger: silentLogger(),
      metrics: testMetrics().events,
      pollMs: 50,
      eventBackoff: quick,
      wayBackoff: quick,
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
  const allSent = () => until(async () => (await pending()) === 0, 'an empty outbox');

  it('sends everything once, in the order of each subject', async () => {
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

  it('sends at once what was written by the same process, and in time what another one has written', async () => {
    const sent: string[] = [];
    const relay = start(async (event) => void sent.push(nameOf(event)), { pollMs: 3_600_000 });
    await until(async () => sent.length === 0);
    await makeThing(wakingAfterCommit(database, relay.wake), 1);
    await until(() => sent.length === 1);
    await relay.stop();
    start(async (event) => void sent.push(nameOf(event)));
    await makeThing(database, 2);
    await until(() => sent.length === 2);
  });

  it('marks nothing as sent that was not acknowledged', async (context) => {
    let acknowledge = (): void => undefined;
    const acknowledged = new Promise<void>((resolve) => {
      acknowledge = resolve;
    });
    context.after(() => acknowledge());
    const sent: string[] = [];
    for (const id of [1, 2, 3]) await makeThing(database, id);
    start(async (event) => {
      if (nameOf(event) === 'things/1 v1') await acknowledged;
      sent.push(nameOf(event));
    });
    // Those beside it are marked, so the relay has had its turn.
    await until(async () => (await pending()) === 1);
    assert.deepEqual(sent.toSorted(), ['things/2 v1', 'things/3 v1']);
    await makeThing(database, 4);
    await until(() => sent.length === 3);
    assert.ok((await pending()) >= 1);
    acknowledge();
    await allSent();
  });

  it('holds up the subject of a poisoned event, and no other', async () => {
    let poisoned = true;
    const sent: string[] = [];
    for (const id of [1, 1, 2, 3]) await makeThing(database, id);
    start(async (event) => {
      if (poisoned && nameOf(event) === 'things/1 v1') throw new SendError('failed', 'the sink answered 500');
      sent.push(nameOf(event));
    });
    await until(() => sent.length === 2);
    await makeThing(database, 4);
    await until(() => sent.length === 3);
    assert.deepEqual(sent.toSorted(), ['things/2 v1', 'things/3 v1', 'things/4 v1']);
    poisoned = false;
    await allSent();
    assert.deepEqual(sent.slice(3), ['things/1 v1', 'things/1 v2']);
  });

  it('sends without end while the way is closed, one event at a time, and all when it is open', async () => {
    let closed = true;
    let attempts = 0;
    let under = 0;
    const sent: string[] = [];
    for (let id = 0; id < 20; id += 1) await makeThing(database, id);
    start(async (event) => {
      under += 1;
      await new Promise(setImmediate);
      const most = under;
      under -= 1;
      if (!closed) return void sent.push(nameOf(event));
      attempts += 1;
      if (attempts > 20) assert.equal(most, 1, 'after the first failures one event finds out');
      throw new SendError('unavailable', 'connection refused');
    });
    await until(() => attempts > 26);
    closed = false;
    await allSent();
    assert.equal(new Set(sent).size, 20);
    assert.equal(sent.length, 20);
  });

  it('gives up what is refused, keeps it with its reason, and goes on with its subject', async () => {
    const sent: string[] = [];
    for (const id of [1, 1]) await makeThing(database, id);
    const metrics = testMetrics();
    start(
      async (event) => {
        if (nameOf(event) === 'things/1 v1') throw new SendError('refused', 'the sink answered 400');
        sent.push(nameOf(event));
      },
      { metrics: metrics.events },
    );
    await allSent();
    assert.deepEqual(sent, ['things/1 v2']);
    const letters = await rowsIn(database, sql`select side, subject, error from dead_letters`);
    assert.deepEqual(letters, [{ side: 'sending', subject: 'things/1', error: 'the sink answered 400' }]);
    const { body } = await metrics.render();
    assert.match(body, /^events_dead_lettered_total\{side="sending",type="zerda.thing.made.v1"\} 1$/m);
    assert.match(body, /^events_sent_total\{type="zerda.thing.made.v1"\} 1$/m);
  });

  it('shares the work among replicas: each event once, each subject in order', async () => {
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

  it('sends again what a relay had in hand that died, when the lease has run out', async () => {
    await makeThing(database, 1);
    // As a relay that was killed leaves it.
    await database.read((db) =>
      db.execute(sql`update outbox set claimed_until = now() + interval '200 milliseconds', attempts = 1`),
    );
    const sent: string[] = [];
    start(async (event) => void sent.push(nameOf(event)));
    await allSent();
    assert.deepEqual(sent, ['things/1 v1']);
  });

  it('ends only when what it has sent is marked, and takes nothing new', async () => {
    await makeThing(database, 1);
    let acknowledge = (): void => undefined;
    const acknowledged = new Promise<void>((resolve) => {
      acknowledge = resolve;
    });
    let sending = 0;
    const relay = start(() => {
      sending += 1;
      return acknowledged;
    });
    await until(() => sending === 1);
    const stopped = relay.stop();
    await makeThing(database, 2);
    relay.wake();
    acknowledge();
    await stopped;
    assert.deepEqual([sending, await pending()], [1, 1]);
  });

  it('does not keep a service from ending when a sink hangs', async () => {
    await makeThing(database, 1);
    let sending = false;
    const relay = start(
      () => {
        sending = true;
        return new Promise(() => undefined);
      },
      { stopMs: 20 },
    );
    await until(() => sending);
    await relay.stop();
    assert.equal(await pending(), 1);
  });

  it('counts and settles each sending once, whichever of the statements that write it down fails', async () => {
    for (const failing of [
      /set sent_at/,
      /insert into dead_letters/,
      /set claimed_until = now\(\) \+ late/,
    ]) {
      await database.read((db) => db.execute(sql`truncate outbox, dead_letters`));
      const counts = { sent: 0, retried: 0, buried: 0, failures: 2 };
      const dialect = new PgDialect();
      const flaky: Database = {
        ...database,
        read: (work) =>
          database.read((db) =>
            work(
              new Proxy(db, {
                get(target, name, receiver) {
                  if (name !== 'execute') return Reflect.get(target, name, receiver);
                  return async (query: SQL) => {
                    if (counts.failures > 0 && failing.test(dialect.sqlToQuery(query).sql)) {
                      counts.failures -= 1;
                      throw new Error('the database is away');
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
        ['things/2 v1', new SendError('refused', 'never')],
        ['things/3 v1', new SendError('failed', 'not now')],
      ]);
      for (const id of [1, 2, 3, 4]) await makeThing(database, id);
      let together = (): void => undefined;
      const all = new Promise<void>((resolve) => {
        together = resolve;
      });
      let arrived = 0;
      const relay = start(
        async (event) => {
          arrived += 1;
          if (arrived === 4) together();
          await all;
          const error = errors.get(nameOf(event));
          errors.delete(nameOf(event));
          if (error !== undefined) throw error;
        },
        {
          database: flaky,
          metrics: {
            ...testMetrics().events,
            sent: add('sent'),
            retried: add('retried'),
            deadLettered: add('buried'),
          },
        },
      );
      await allSent();
      await relay.stop();
      assert.deepEqual(counts, { sent: 3, retried: 1, buried: 1, failures: 0 }, String(failing));
      await database.read((db) => db.execute(sql`truncate things`));
    }
  });

  it('goes on when the database was away', async () => {
    let away = true;
    let asked = 0;
    const sent: string[] = [];
    await makeThing(database, 1);
    start(async (event) => void sent.push(nameOf(event)), {
      database: {
        ...database,
        read(work) {
          asked += 1;
          return away ? Promise.reject(new Error('away')) : database.read(work);
        },
      },
    });
    await until(() => asked > 2);
    away = false;
    await allSent();
    assert.deepEqual(sent, ['things/1 v1']);
  });
});
