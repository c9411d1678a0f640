import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, beforeEach, it } from 'node:test';
import { defineEvent } from '@zerda/contracts/events/definition';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';
import { describeOnEachEngine } from '../database/testing.ts';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';
import { silentLogger, testMetrics } from '../testing.ts';
import { createReceiver, on, type ReceiverOptions } from './receiver.ts';
import { createThings, eventTables, heard, hearing, rowsIn, thingMade } from './testing-things.ts';
import { MalformedEventError } from './transport.ts';

interface Change {
  readonly id?: string;
  readonly version?: number;
  readonly text?: string;
  readonly [attribute: string]: unknown;
}

/** A text as it comes, about thing 1 unless told otherwise. */
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

describeOnEachEngine('receiver', { migrations: eventTables }, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    await createThings(database);
  });
  beforeEach(() =>
    database.read((db) =>
      db.execute(sql`truncate inbox, inbox_subjects, inbox_failures, dead_letters, heard, things`),
    ),
  );

  function create(options: Partial<ReceiverOptions> = {}) {
    return createReceiver({
      database,
      subscriptions: [hearing],
      logger: silentLogger(),
      metrics: testMetrics().events,
      ...options,
    });
  }

  const versions = async () => (await heard(database)).map(({ version }) => version);
  const letters = () =>
    rowsIn<Record<string, unknown>>(
      database,
      sql`select side, event_id, type, subject, event, error, attempts from dead_letters`,
    );
  const outcomeOf = async (receiver: ReturnType<typeof create>, text: string) =>
    (await receiver.receive(text)).outcome;

  it('applies an event, and a repeat has no effect', async () => {
    const receiver = create();
    const text = textOf();
    assert.deepEqual(await receiver.receive(text), { outcome: 'applied', retryInMs: 0 });
    assert.deepEqual(await receiver.receive(text), { outcome: 'duplicate', retryInMs: 0 });
    assert.deepEqual(await versions(), [1]);
  });

  it('applies of one subject only what is newer, and notes what came too late', async () => {
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

  it('gives up no event that another delivery has dealt with while this one failed', async () => {
    const text = textOf();
    let writes = 0;
    const overtaken: Database = {
      ...database,
      async write(work) {
        writes += 1;
        // The first transaction is the effect, which fails; before the second one another replica gets the event.
        if (writes === 2) assert.equal(await outcomeOf(create(), text), 'applied');
        return database.write(work);
      },
    };
    const failing = create({
      database: overtaken,
      subscriptions: [on(thingMade, () => Promise.reject(new Error('no')))],
      maxFailures: 1,
    });
    assert.deepEqual(await failing.receive(text), { outcome: 'duplicate', retryInMs: 0 });
    assert.deepEqual(await letters(), []);
    assert.deepEqual(await rowsIn(database, sql`select * from inbox_failures`), []);
  });

  it('has one effect, though the same event comes to many replicas at once', async () => {
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
    const seen = await rowsIn<{ n: number }>(database, sql`select count(*) as n from inbox`);
    assert.equal(seen[0]?.n, 10);
  });

  it('keeps nothing of an effect that failed half way, and lets the event come again', async () => {
    let failing = true;
    const receiver = create({
      subscriptions: [
        on(thingMade, async (tx, event) => {
          await hearing.handle(tx, event as never);
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

  it('gives an event up after its last failure, keeps it with its error, and lets the next of its subject through', async () => {
    const metrics = testMetrics();
    const receiver = create({
      metrics: metrics.events,
      maxFailures: 3,
      subscriptions: [
        on(thingMade, async (tx, event) => {
          if (event.data.text === 'poison') {
            await tx.execute(sql`select * from no_such_table where secret = ${'hidden'}`);
          }
          return hearing.handle(tx, event as never);
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
        ...{ side: 'receiving', event_id: id, type: 'zerda.thing.made.v1', subject: 'things/1', event: text },
        ...{ error: undefined, attempts: undefined },
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

  it('takes a dead letter away when its event is applied after all', async () => {
    let failing = true;
    const receiver = create({
      maxFailures: 1,
      subscriptions: [
        on(thingMade, (tx, event) =>
          failing ? Promise.reject(new Error('not yet')) : hearing.handle(tx, event as never),
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

  it('does not count a failure that is only the database being away', async () => {
    const away = new Failure('database-unavailable');
    const receiver = create({
      maxFailures: 1,
      subscriptions: [on(thingMade, () => Promise.reject(away))],
    });
    assert.equal(await outcomeOf(receiver, textOf()), 'unavailable');
    const unreachable = create({ database: { ...database, write: () => Promise.reject(away) } });
    assert.equal(await outcomeOf(unreachable, textOf()), 'unavailable');
    assert.equal(await outcomeOf(unreachable, textOf({ data: {} })), 'unavailable');
    assert.deepEqual(await letters(), []);
  });

  it('goes on with a long effect where it was cut short, and notes the event with its last part', async () => {
    let cut = true;
    const receiver = create({
      subscriptions: [
        on(thingMade, async (tx, { data }) => {
          const [row] = await rowsOf<{ n: number }>(tx, sql`select count(*) as n from heard`);
          assert.ok(row);
          const part = row.n + 1;
          if (part === 3 && cut) throw new Error('killed');
          await tx.execute(sql`insert into heard (id, version, text) values (${data.id}, ${part}, '')`);
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

  it('passes over types that nobody hears, also those of strangers', async () => {
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

  it('hands members to its handler that it knows, and drops others', async () => {
    const later = defineEvent({ ...thingMade, data: thingMade.data.extend({ colour: z.string() }) });
    const seen: unknown[] = [];
    const receiver = create({
      subscriptions: [
        on(thingMade, async (_tx, { data, correlationid }) => {
          seen.push(data, correlationid, currentContext()?.correlationId);
          return undefined;
        }),
      ],
    });
    const data = later.data.parse({ id: 1, text: 'x', colour: 'red' });
    assert.equal(
      await outcomeOf(receiver, textOf({ data, correlationid: 'request-1', tenant: 'a' })),
      'applied',
    );
    assert.deepEqual(seen, [{ id: 1, text: 'x' }, 'request-1', 'request-1']);
  });

  it('puts an event that is not as its schema has it into the dead letters at once', async () => {
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

  it('says of what is no CloudEvent that it is none, and buries it once', async () => {
    const receiver = create();
    for (const text of ['', 'text', '[]', '{}', '{"specversion":"1.0","id":"","source":"/a","type":"b"}']) {
      await assert.rejects(receiver.receive(text), MalformedEventError);
    }
    for (let count = 0; count < 2; count += 1) await receiver.bury('text', 'not JSON');
    const found = await letters();
    assert.deepEqual(
      found.map(({ event, error, attempts }) => [event, error, attempts]),
      [['text', 'not JSON', 2]],
    );
  });
});
