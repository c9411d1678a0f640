import assert from 'node:assert/strict';
import { beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { StartupError } from '@zerda/chassis/startup-error';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { recordingLogger, silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import { sql } from 'drizzle-orm';
import {
  createThingTables,
  eventTables,
  makeThing,
  receivedThings,
  recordThing,
  rowsIn,
  thingMade,
} from '../testing/things.ts';
import { testEvent } from '../testing/transport.ts';
import { cleanEvents } from './clean-events.ts';
import { eventMetrics } from './event-metrics.ts';
import { runEventsCommand } from './events-command.ts';
import { createOutboxQueue } from './outbox-queue.ts';
import { createReceiver, onEvent } from './receiver.ts';

describeOnEachEngine('events command', { migrations: eventTables }, (openDatabase) => {
  let database: Database;
  /** Whether the handler succeeds. */
  let handlerSucceeds = true;

  beforeEach(async () => {
    database ??= await openDatabase();
    await createThingTables(database);
    await database.query((db) =>
      db.execute(
        sql`truncate outbox, inbox, inbox_subjects, inbox_failures, dead_letters, things, received_things`,
      ),
    );
    handlerSucceeds = false;
    logLines.length = 0;
  });

  const receiver = () =>
    createReceiver({
      database,
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
      maxFailures: 1,
      subscriptions: [
        onEvent(thingMade, (tx, event) =>
          handlerSucceeds
            ? recordThing.handle(tx, event as never)
            : Promise.reject(new Error('cannot\nbut why')),
        ),
      ],
    });

  const { logger, lines: logLines } = recordingLogger();
  /** Returns the action, entity id and outcome of the audit lines since the last call. */
  const audited = () =>
    logLines.splice(0).map(({ action, entity_id, outcome }) => [action, entity_id, outcome]);

  async function run(...args: string[]): Promise<string[]> {
    const lines: string[] = [];
    await runEventsCommand({
      service: 'thing-service',
      args,
      database,
      audit: testAudit(logger),
      receiver: receiver(),
      extra: {
        recount: { summary: 'counts again', action: 'projection.replay', run: async () => 'counted' },
      },
      print: (line) => lines.push(line),
    });
    return lines;
  }

  /** Creates a dead letter of a received event. */
  async function failedEvent(version = 1): Promise<{ id: string; text: string }> {
    const event = testEvent('things/1', version);
    assert.equal((await receiver().receive(event.text)).outcome, 'dead-lettered');
    return event;
  }

  /** Creates a dead letter of an event that a sink rejected. */
  async function rejectedEvent(): Promise<string> {
    await makeThing(database, 7);
    const queue = createOutboxQueue(database);
    const [event] = await queue.claim(1, 1000);
    assert.ok(event);
    await queue.deadLetter(event, 'the sink returned 400');
    return event.id;
  }

  it('lists one line per dead letter, newest first, or reports that there are none', async () => {
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
    const { id } = await failedEvent();
    const rejected = await rejectedEvent();
    const lines = await run('dead-letters', 'list');
    assert.equal(lines.length, 2);
    assert.match(
      lines[0] ?? '',
      new RegExp(
        `^thing-service {2}${rejected} {2}sending {2}zerda.thing.made.v1 {2}things/7 .* {2}the sink returned 400$`,
      ),
    );
    assert.match(lines[1] ?? '', new RegExp(`^thing-service {2}${id} {2}receiving .* {2}cannot$`));
  });

  it('shows a dead letter with its event and full error', async () => {
    const { id, text } = await failedEvent();
    const [output = ''] = await run('dead-letters', 'show', id);
    const { event, error, side, attempts } = JSON.parse(output);
    assert.deepEqual([event, error, side, attempts], [JSON.parse(text), 'cannot\nbut why', 'receiving', 1]);
  });

  it('replays a received event and keeps the dead letter if it fails again', async () => {
    const { id } = await failedEvent();
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} failed again`]);
    assert.equal((await run('dead-letters', 'list')).length, 1);
    handlerSucceeds = true;
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} applied`]);
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
    assert.equal((await receivedThings(database)).length, 1);
  });

  it('writes an audit line for each replayed, discarded or repeated change, and none for lists', async () => {
    const { id } = await failedEvent();
    await run('dead-letters', 'list');
    await run('dead-letters', 'show', id);
    assert.deepEqual(audited(), []);
    await run('dead-letters', 'replay', id);
    handlerSucceeds = true;
    await run('dead-letters', 'replay', 'all');
    const rejected = await rejectedEvent();
    await run('dead-letters', 'discard', rejected);
    await run('recount');
    assert.deepEqual(audited(), [
      ['dead-letter.replay', id, 'failed'],
      ['dead-letter.replay', id, 'succeeded'],
      ['dead-letter.discard', rejected, 'succeeded'],
      ['projection.replay', undefined, 'succeeded'],
    ]);
  });

  it('replays an outdated event without effect', async () => {
    const { id } = await failedEvent(1);
    handlerSucceeds = true;
    await receiver().receive(testEvent('things/1', 2).text);
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} stale`]);
    assert.deepEqual(
      (await receivedThings(database)).map(({ version }) => version),
      [2],
    );
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
  });

  it('replays an unsent event through the outbox', async () => {
    const id = await rejectedEvent();
    assert.deepEqual(await run('dead-letters', 'replay', id), [`thing-service: ${id} queued`]);
    const [again] = await createOutboxQueue(database).claim(9, 1000);
    assert.equal(again?.id, id);
    assert.equal(JSON.parse(again?.text ?? '').subject, 'things/7');
  });

  it('replays all dead letters in the order of their failures', async () => {
    const events = [await failedEvent(1), await failedEvent(2), await failedEvent(3)];
    handlerSucceeds = true;
    assert.deepEqual(
      await run('dead-letters', 'replay', 'all'),
      events.map(({ id }) => `thing-service: ${id} applied`),
    );
    assert.deepEqual(
      (await receivedThings(database)).map(({ version }) => version),
      [1, 2, 3],
    );
  });

  it('discards a dead letter', async () => {
    const { id } = await failedEvent();
    assert.deepEqual(await run('dead-letters', 'discard', id), [`thing-service: ${id} discarded`]);
    assert.deepEqual(await run('dead-letters', 'list'), ['thing-service: no dead letters']);
  });

  it('runs extra commands, and fails with the usage for unknown ones', async () => {
    assert.deepEqual(await run('recount'), ['thing-service: counted']);
    const wrong = [
      [],
      ['nonsense'],
      ['dead-letters'],
      ['dead-letters', 'show'],
      ['dead-letters', 'list', 'x'],
    ];
    for (const args of wrong) {
      await assert.rejects(run(...args), (error) => {
        assert.ok(error instanceof StartupError);
        assert.match(
          error.message,
          /^usage: events dead-letters list \|.*\n {7}events recount: counts again$/,
        );
        return true;
      });
    }
    for (const verb of ['show', 'replay', 'discard']) {
      await assert.rejects(
        run('dead-letters', verb, 'x'),
        /^StartupError: thing-service has no dead letter for event x$/,
      );
    }
  });

  it('deletes old rows and keeps current ones', async () => {
    handlerSucceeds = true;
    const subject = receiver();
    await subject.receive(testEvent('things/1', 1).text);
    await subject.receive(testEvent('things/1', 2).text);
    for (const id of [1, 2, 3]) await makeThing(database, id);
    const queue = createOutboxQueue(database);
    await queue.markSent(await queue.claim(2, 1000));
    handlerSucceeds = false;
    const letter = await failedEvent(3);
    await database.query((db) =>
      db.execute(sql`update inbox set received_at = now() - interval '2 hours' where version = 1`),
    );
    await database.query((db) =>
      db.execute(sql`update outbox set sent_at = now() - interval '2 hours' where subject = 'things/1'`),
    );
    await cleanEvents({ database, retentionHours: 1, hasInbox: true });
    const remaining = async (query: ReturnType<typeof sql>) =>
      (await rowsIn<{ n: unknown }>(database, query)).map(({ n }) => n);
    assert.deepEqual(await remaining(sql`select version as n from inbox`), [2]);
    assert.deepEqual(await remaining(sql`select subject as n from outbox order by position`), [
      'things/2',
      'things/3',
    ]);
    assert.deepEqual(await remaining(sql`select version as n from inbox_subjects`), [2]);
    assert.deepEqual(await remaining(sql`select event_id as n from dead_letters`), [letter.id]);
    handlerSucceeds = true;
    const oldEvent = testEvent('things/1', 1).text;
    assert.equal((await receiver().receive(oldEvent)).outcome, 'stale');
  });
});
