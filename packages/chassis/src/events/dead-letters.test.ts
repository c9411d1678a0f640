import assert from 'node:assert/strict';
import { beforeEach, it } from 'node:test';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { describeOnEachEngine } from '../database/testing.ts';
import { StartupError } from '../startup-error.ts';
import { silentLogger, testMetrics } from '../testing.ts';
import { cleanEvents } from './clean-events.ts';
import { runEventsCommand } from './events-command.ts';
import { createOutboxQueue } from './outbox-queue.ts';
import { createReceiver, on } from './receiver.ts';
import { createThings, eventTables, heard, hearing, makeThing, rowsIn, thingMade } from './testing-things.ts';
import { anEvent } from './testing-transport.ts';

describeOnEachEngine('events command', { migrations: eventTables }, (open) => {
  let database: Database;
  /** Whether the handler can deal with events. */
  let able = true;

  beforeEach(async () => {
    database ??= await open();
    await createThings(database);
    await database.read((db) =>
      db.execute(sql`truncate outbox, inbox, inbox_subjects, inbox_failures, dead_letters, things, heard`),
    );
    able = false;
  });

  const receiver = () =>
    createReceiver({
      ...{ database, logger: silentLogger(), metrics: testMetrics().events, maxFailures: 1 },
      subscriptions: [
        on(thingMade, (tx, event) =>
          able ? hearing.handle(tx, event as never) : Promise.reject(new Error('cannot\nbut why')),
        ),
      ],
    });

  async function run(...words: string[]): Promise<string[]> {
    const lines: string[] = [];
    await runEventsCommand({
      ...{ service: 'thing-service', words, database, receiver: receiver() },
      extra: { recount: { summary: 'counts anew', run: async () => 'counted' } },
      print: (line) => lines.push(line),
    });
    return lines;
  }

  /** An event that came and was given up. */
  async function failedEvent(version = 1): Promise<{ id: string; text: string }> {
    const event = anEvent('things/1', version);
    assert.equal((await receiver().receive(event.text)).outcome, 'dead-lettered');
    return event;
  }

  /** An event that a sink has refused. */
  async function refusedEvent(): Promise<string> {
    await makeThing(database, 7);
    const queue = createOutboxQueue(database);
    const [event] = await queue.claim(1, 1000);
    assert.ok(event);
    await queue.bury(event, 'the sink answered 400');
    return event.id;
  }

  it('lists dead letters, a line each, newest first, and says when there are none', async () => {
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
    const { id } = await failedEvent();
    const refused = await refusedEvent();
    const lines = await run('dead-letters', 'list');
    assert.equal(lines.length, 2);
    assert.match(
      lines[0] ?? '',
      new RegExp(
        `^thing-service {2}${refused} {2}sending {2}zerda.thing.made.v1 {2}things/7 .* {2}the sink answered 400$`,
      ),
    );
    assert.match(lines[1] ?? '', new RegExp(`^thing-service {2}${id} {2}receiving .* {2}cannot$`));
  });

  it('shows a letter with its event and all of its error', async () => {
    const { id, text } = await failedEvent();
    const [shown = ''] = await run('dead-letters', 'show', id);
    const { event, error, side, attempts } = JSON.parse(shown);
    assert.deepEqual([event, error, side, attempts], [JSON.parse(text), 'cannot\nbut why', 'receiving', 1]);
  });

  it('replays what came, and keeps it when it fails again', async () => {
    const { id } = await failedEvent();
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} failed again`]);
    assert.equal((await run('dead-letters', 'list')).length, 1);
    able = true;
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} applied`]);
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
    assert.equal((await heard(database)).length, 1);
  });

  it('replays without an effect what something newer has made old', async () => {
    const { id } = await failedEvent(1);
    able = true;
    await receiver().receive(anEvent('things/1', 2).text);
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} stale`]);
    assert.deepEqual(
      (await heard(database)).map(({ version }) => version),
      [2],
    );
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
  });

  it('replays what was to be sent by the outbox', async () => {
    const id = await refusedEvent();
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} queued`]);
    const [again] = await createOutboxQueue(database).claim(9, 1000);
    assert.equal(again?.id, id);
    assert.equal(JSON.parse(again?.text ?? '').subject, 'things/7');
  });

  it('replays all in the order in which they failed', async () => {
    const events = [await failedEvent(1), await failedEvent(2), await failedEvent(3)];
    able = true;
    assert.deepEqual(
      await run('dead-letters', 'replay', 'all'),
      events.map(({ id }) => `thing-service: ${id} applied`),
    );
    assert.deepEqual(
      (await heard(database)).map(({ version }) => version),
      [1, 2, 3],
    );
  });

  it('discards a letter', async () => {
    const { id } = await failedEvent();
    assert.deepEqual(await run('dead-letters', 'discard', id), [`thing-service: ${id} discarded`]);
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
  });

  it('does what the service has more, and says what there is otherwise', async () => {
    assert.deepEqual(await run('recount'), ['thing-service: counted']);
    const wrong = [
      [],
      ['nonsense'],
      ['dead-letters'],
      ['dead-letters', 'show'],
      ['dead-letters', 'list', 'x'],
    ];
    for (const words of wrong) {
      await assert.rejects(run(...words), (error) => {
        assert.ok(error instanceof StartupError);
        assert.match(
          error.message,
          /^usage: events dead-letters list \|.*\n {7}events recount: counts anew$/,
        );
        return true;
      });
    }
    for (const verb of ['show', 'replay', 'discard']) {
      await assert.rejects(
        run('dead-letters', verb, 'x'),
        /^StartupError: thing-service has no dead letter of event x$/,
      );
    }
  });

  it('cleans what is old, and leaves what still matters', async () => {
    able = true;
    const subject = receiver();
    await subject.receive(anEvent('things/1', 1).text);
    await subject.receive(anEvent('things/1', 2).text);
    for (const id of [1, 2, 3]) await makeThing(database, id);
    const queue = createOutboxQueue(database);
    await queue.markSent(await queue.claim(2, 1000));
    able = false;
    const letter = await failedEvent(3);
    await database.read((db) =>
      db.execute(sql`update inbox set received_at = now() - interval '2 hours' where version = 1`),
    );
    await database.read((db) =>
      db.execute(sql`update outbox set sent_at = now() - interval '2 hours' where subject = 'things/1'`),
    );
    await cleanEvents({ database, keptForHours: 1, hears: true });
    const left = async (query: ReturnType<typeof sql>) =>
      (await rowsIn<{ n: unknown }>(database, query)).map(({ n }) => n);
    assert.deepEqual(await left(sql`select version as n from inbox`), [2]);
    assert.deepEqual(await left(sql`select subject as n from outbox order by position`), [
      'things/2',
      'things/3',
    ]);
    assert.deepEqual(await left(sql`select version as n from inbox_subjects`), [2]);
    assert.deepEqual(await left(sql`select event_id as n from dead_letters`), [letter.id]);
    able = true;
    const late = anEvent('things/1', 1).text;
    assert.equal((await receiver().receive(late)).outcome, 'stale');
  });
});
