import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { Failure } from '@zerda/chassis/failure';
import { currentContext } from '@zerda/chassis/request-context';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { defineEvent } from '@zerda/contracts/events/definition';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import {
  createThingTables,
  eventTables,
  receivedThings,
  recordThing,
  rowsIn,
  thingMade,
} from '../testing/things.ts';
import { eventMetrics } from './event-metrics.ts';
import { createReceiver, onEvent, type ReceiverOptions } from './receiver.ts';
import { MalformedEventError } from './transport.ts';

interface Change {
  readonly id?: string;
  readonly version?: number;
  readonly text?: string;
  readonly [attribute: string]: unknown;
}

/** Returns the text of an event, about thing 1 by default. */
function textOf({ id = randomUUID(), version = 1, text = 'a thing', ...more }: Change = {}): string {
  return JSON.stringify({
    specversion: '1.0',
    id,
    source: '/things',
    type: 'zerda.thing.made.v1',
    subject: 'things/1',
    time: '2026-01-01T00:00:00Z',
    datacontenttype: 'application/json',
    sequence: String(version).padStart(10, '0'),
    data: { id: 1, text },
    ...more,
  });
}

describeOnEachEngine('receiver', { migrations: eventTables }, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await createThingTables(database);
  });
  beforeEach(() =>
    database.query((db) =>
      db.execute(sql`truncate inbox, inbox_subjects, inbox_failures, dead_letters, received_things, things`),
    ),
  );

  function create(options: Partial<ReceiverOptions> = {}) {
    return createReceiver({
      database,
      subscriptions: [recordThing],
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
      ...options,
    });
  }

  const versions = async () => (await receivedThings(database)).map(({ version }) => version);
  const letters = () =>
    rowsIn<Record<string, unknown>>(
      database,
      sql`select side, event_id, type, subject, event, error, attempts from dead_letters`,
    );
  const outcomeOf = async (receiver: ReturnType<typeof create>, text: string) =>
    (await receiver.receive(text)).outcome;

  it('applies an event once and ignores a repeat', async () => {
    const receiver = create();
    const text = textOf();
    assert.deepEqual(await receiver.receive(text), { outcome: 'applied', retryInMs: 0 });
    assert.deepEqual(await receiver.receive(text), { outcome: 'duplicate', retryInMs: 0 });
    assert.deepEqual(await versions(), [1]);
  });

  it('applies only newer versions of a subject and records stale ones', async () => {
    const receiver = create();
    const late = textOf({ version: 2 });
    const outcomes: string[] = [];
    for (const text of [textOf({ version: 1 }), textOf({ version: 3 }), late, late, textOf({ version: 4 })]) {
      outcomes.push(await outcomeOf(receiver, text));
    }
    assert.deepEqual(outcomes, ['applied', 'applied', 'stale', 'duplicate', 'applied']);
    assert.deepEqual(await versions(), [1, 3, 4]);
    assert.equal(await outcomeOf(receiver, textOf({ version: 1, subject: 'things/2' })), 'applied');
  });

  it('keeps failures and dead letters of two sources with one event id apart', async () => {
    const source = '/other-things';
    const otherMade = defineEvent({ ...thingMade, type: 'zerda.other_thing.made.v1', source });
    let failing = true;
    const work = async () => {
      if (failing) throw new Error('no');
      return undefined;
    };
    const subscriptions = [onEvent(thingMade, work), onEvent(otherMade, work)];
    const receiver = create({ subscriptions, maxFailures: 2 });
    const id = randomUUID();
    const [text, otherText] = [textOf({ id }), textOf({ id, source, type: otherMade.type })];
    const failures = () => rowsIn(database, sql`select source, failures from inbox_failures`);

    assert.equal(await outcomeOf(receiver, otherText), 'failed');
    assert.equal(await outcomeOf(receiver, text), 'failed');
    assert.equal(await outcomeOf(receiver, text), 'dead-lettered');
    // The dead letter of the first source neither deletes nor adds failures of the other one.
    assert.deepEqual(await failures(), [{ source, failures: 1 }]);
    assert.equal(await outcomeOf(receiver, otherText), 'dead-lettered');
    const stored = await letters();
    assert.deepEqual(
      stored.map(({ event_id, event }) => [event_id, event]),
      [
        [id, text],
        [`${id}@${source}`, otherText],
      ],
    );

    failing = false;
    assert.equal(await outcomeOf(receiver, text), 'applied');
    assert.deepEqual(
      (await letters()).map(({ event }) => event),
      [otherText],
    );
    assert.equal(await outcomeOf(receiver, otherText), 'applied');
    assert.deepEqual(await letters(), []);
  });

  it('updates and deletes dead letters of the previous version, which have no source', async () => {
    let failing = true;
    const handle = async () => {
      if (failing) throw new Error('no');
      return undefined;
    };
    const receiver = create({ subscriptions: [onEvent(thingMade, handle)] });
    const id = randomUUID();
    await database.query((db) =>
      db.execute(sql`insert into dead_letters (side, event_id, type, subject, event, error, attempts)
        values ('receiving', ${id}, 'zerda.thing.made.v1', 'things/1', ${textOf({ id })}, 'earlier', 10)`),
    );
    assert.equal(await outcomeOf(receiver, textOf({ id })), 'dead-lettered');
    assert.deepEqual(
      (await letters()).map(({ error, attempts }) => [error, attempts]),
      [['no', 11]],
    );
    failing = false;
    assert.equal(await outcomeOf(receiver, textOf({ id })), 'applied');
    assert.deepEqual(await letters(), []);
  });

  it('does not dead-letter an event that a concurrent delivery has applied', async () => {
    const text = textOf();
    let writes = 0;
    const overtaken: Database = {
      ...database,
      async transaction(work) {
        writes += 1;
        // The first transaction runs the handler, which fails. Before the second one another replica applies the event.
        if (writes === 2) assert.equal(await outcomeOf(create(), text), 'applied');
        return database.transaction(work);
      },
    };
    const failing = create({
      database: overtaken,
      subscriptions: [onEvent(thingMade, () => Promise.reject(new Error('no')))],
      maxFailures: 1,
    });
    assert.deepEqual(await failing.receive(text), { outcome: 'duplicate', retryInMs: 0 });
    assert.deepEqual(await letters(), []);
    assert.deepEqual(await rowsIn(database, sql`select * from inbox_failures`), []);
  });

  it('applies an event once if many replicas receive it concurrently', async () => {
    const texts = Array.from({ length: 10 }, (_, n) => textOf({ version: n + 1 }));
    const receivers = Array.from({ length: 4 }, () => create());
    const outcomes = await Promise.all(
      texts.flatMap((text) => receivers.map((receiver) => outcomeOf(receiver, text))),
    );
    assert.deepEqual(
      [...new Set(outcomes)].filter((outcome) => outcome === 'failed'),
      [],
    );
    const applied = await versions();
    assert.equal(applied.at(-1), 10);
    assert.deepEqual(
      applied,
      [...new Set(applied)].toSorted((a, b) => a - b),
    );
    const [inbox] = await rowsIn<{ n: number }>(database, sql`select count(*) as n from inbox`);
    assert.equal(inbox?.n, 10);
  });

  it('rolls back a failed handler and requests redelivery', async () => {
    let failing = true;
    const receiver = create({
      subscriptions: [
        onEvent(thingMade, async (tx, event) => {
          await recordThing.handle(tx, event as never);
          if (failing) throw new Error('half way');
          return undefined;
        }),
      ],
    });
    const text = textOf();
    const receipt = await receiver.receive(text);
    assert.equal(receipt.outcome, 'failed');
    assert.ok(receipt.retryInMs > 0);
    assert.deepEqual(await versions(), []);
    failing = false;
    assert.equal(await outcomeOf(receiver, text), 'applied');
    assert.deepEqual(await versions(), [1]);
    assert.deepEqual(await rowsIn(database, sql`select * from inbox_failures`), []);
  });

  it('dead-letters an event with its error after the last failure and applies the next version', async () => {
    const metrics = testMetrics();
    const receiver = create({
      metrics: eventMetrics(metrics.registry),
      maxFailures: 3,
      subscriptions: [
        onEvent(thingMade, async (tx, event) => {
          if (event.data.text === 'poison') {
            await tx.execute(sql`select * from no_such_table where secret = ${'hidden'}`);
          }
          return recordThing.handle(tx, event as never);
        }),
      ],
    });
    const id = randomUUID();
    const text = textOf({ id, text: 'poison' });
    const outcomes: string[] = [];
    for (let count = 0; count < 4; count += 1) outcomes.push(await outcomeOf(receiver, text));
    assert.deepEqual(outcomes, ['failed', 'failed', 'dead-lettered', 'dead-lettered']);
    const [letter, ...others] = await letters();
    assert.deepEqual(others, []);
    assert.deepEqual(
      { ...letter, error: undefined, attempts: undefined },
      {
        side: 'receiving',
        event_id: id,
        type: 'zerda.thing.made.v1',
        subject: 'things/1',
        event: text,
        error: undefined,
        attempts: undefined,
      },
    );
    assert.match(String(letter?.error), /no_such_table/);
    assert.doesNotMatch(String(letter?.error), /hidden/);
    assert.equal(await outcomeOf(receiver, textOf({ version: 2 })), 'applied');
    const { body } = await metrics.render();
    assert.match(body, /^events_dead_lettered_total\{side="receiving",type="zerda.thing.made.v1"\} 2$/m);
    assert.match(
      body,
      /^event_handler_duration_seconds_count\{type="zerda.thing.made.v1",outcome="failed"\} 2$/m,
    );
  });

  it('deletes a dead letter once its event is applied', async () => {
    let failing = true;
    const receiver = create({
      maxFailures: 1,
      subscriptions: [
        onEvent(thingMade, (tx, event) =>
          failing ? Promise.reject(new Error('not yet')) : recordThing.handle(tx, event as never),
        ),
      ],
    });
    const text = textOf();
    assert.equal(await outcomeOf(receiver, text), 'dead-lettered');
    assert.equal((await letters()).length, 1);
    failing = false;
    assert.equal(await outcomeOf(receiver, text), 'applied');
    assert.deepEqual(await letters(), []);
  });

  it('does not count a failure if the database is unavailable', async () => {
    const unavailable = new Failure('database-unavailable');
    const receiver = create({
      maxFailures: 1,
      subscriptions: [onEvent(thingMade, () => Promise.reject(unavailable))],
    });
    assert.equal(await outcomeOf(receiver, textOf()), 'unavailable');
    const unreachable = create({ database: { ...database, transaction: () => Promise.reject(unavailable) } });
    assert.equal(await outcomeOf(unreachable, textOf()), 'unavailable');
    assert.equal(await outcomeOf(unreachable, textOf({ data: {} })), 'unavailable');
    assert.deepEqual(await letters(), []);
  });

  it('resumes a partial handler and records the event with its last part', async () => {
    let cut = true;
    const receiver = create({
      subscriptions: [
        onEvent(thingMade, async (tx, { data }) => {
          const [row] = await rowsOf<{ n: number }>(tx, sql`select count(*) as n from received_things`);
          assert.ok(row);
          const part = row.n + 1;
          if (part === 3 && cut) throw new Error('killed');
          await tx.execute(
            sql`insert into received_things (id, version, text) values (${data.id}, ${part}, '')`,
          );
          return part < 5 ? 'more' : undefined;
        }),
      ],
    });
    const text = textOf();
    assert.equal(await outcomeOf(receiver, text), 'failed');
    assert.deepEqual(await versions(), [1, 2]);
    assert.deepEqual(await rowsIn(database, sql`select * from inbox`), []);
    cut = false;
    assert.equal(await outcomeOf(receiver, text), 'applied');
    assert.equal(await outcomeOf(receiver, text), 'duplicate');
    assert.deepEqual(await versions(), [1, 2, 3, 4, 5]);
  });

  it('ignores types without a subscription, also of other systems', async () => {
    const receiver = create();
    assert.equal(await outcomeOf(receiver, textOf({ type: 'zerda.thing.made.v2' })), 'ignored');
    const foreign = JSON.stringify({
      specversion: '1.0',
      id: 'x',
      source: 'https://e.com',
      type: 'com.e.done',
    });
    assert.equal(await outcomeOf(receiver, foreign), 'ignored');
    assert.deepEqual(await rowsIn(database, sql`select * from inbox`), []);
  });

  it('passes known members to the handler and drops others', async () => {
    const later = defineEvent({ ...thingMade, data: thingMade.data.extend({ color: z.string() }) });
    const seen: unknown[] = [];
    const receiver = create({
      subscriptions: [
        onEvent(thingMade, async (_tx, { data, correlationid }) => {
          seen.push(data, correlationid, currentContext()?.correlationId);
          return undefined;
        }),
      ],
    });
    const data = later.data.parse({ id: 1, text: 'x', color: 'red' });
    assert.equal(
      await outcomeOf(receiver, textOf({ data, correlationid: 'request-1', tenant: 'a' })),
      'applied',
    );
    assert.deepEqual(seen, [{ id: 1, text: 'x' }, 'request-1', 'request-1']);
  });

  it('dead-letters an event that does not match its schema at once', async () => {
    const receiver = create();
    const wrong: [Change, RegExp][] = [
      [{ data: { id: 1 } }, /^data\.text: /],
      [{ data: undefined }, /^data: /],
      [{ sequence: 'three' }, /^sequence: /],
      [{ subject: undefined }, /^subject: /],
      [{ source: '/elsewhere' }, /^source: /],
    ];
    for (const [change, error] of wrong) {
      const text = textOf(change);
      assert.equal(await outcomeOf(receiver, text), 'dead-lettered');
      const letter = (await letters()).find(({ event }) => event === text);
      assert.match(String(letter?.error), error);
    }
    assert.deepEqual(await versions(), []);
  });

  it('rejects a text that is not a CloudEvent and dead-letters it once', async () => {
    const receiver = create();
    for (const text of ['', 'text', '[]', '{}', '{"specversion":"1.0","id":"","source":"/a","type":"b"}']) {
      await assert.rejects(receiver.receive(text), MalformedEventError);
    }
    for (let count = 0; count < 2; count += 1) await receiver.deadLetter('text', 'not JSON');
    assert.deepEqual(
      (await letters()).map(({ event, error, attempts }) => [event, error, attempts]),
      [['text', 'not JSON', 2]],
    );
  });
});
