import assert from 'node:assert/strict';
import { beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { explain } from '@zerda/chassis/testing/query-plans';
import { eventually } from '@zerda/chassis/testing/wait';
import { type SQL, sql } from 'drizzle-orm';
import { createThingTables, eventTables, makeThing, rowsIn } from '../testing/things.ts';
import { type ClaimedEvent, claimStatement, createOutboxQueue, type OutboxQueue } from './outbox-queue.ts';

const minute = 60_000;

describeOnEachEngine('outbox queue', { migrations: eventTables }, (openDatabase) => {
  let database: Database;
  let queue: OutboxQueue;

  beforeEach(async () => {
    database ??= await openDatabase();
    queue ??= createOutboxQueue(database);
    await createThingTables(database);
    await database.query((db) => db.execute(sql`truncate outbox, dead_letters, things`));
  });

  /** Subjects and versions of claimed events. */
  const names = (events: readonly ClaimedEvent[]) =>
    events.map(({ subject, text }) => `${subject} v${Number(JSON.parse(text).sequence)}`).sort();

  async function make(...ids: number[]): Promise<void> {
    for (const id of ids) await makeThing(database, id);
  }

  it('claims the oldest event of each subject exactly once', async () => {
    await make(1, 1, 2, 1, 3);
    const [first, second] = [await queue.claim(2, minute), await queue.claim(9, minute)];
    assert.deepEqual([names(first), names(second)], [['things/1 v1', 'things/2 v1'], ['things/3 v1']]);
    assert.deepEqual(await queue.claim(9, minute), []);
  });

  it('claims the next event only after the previous one was sent, and reports that it exists', async () => {
    await make(1, 1);
    const first = await queue.claim(9, minute);
    assert.equal(await queue.markSent(first), true);
    const second = await queue.claim(9, minute);
    assert.deepEqual(names(second), ['things/1 v2']);
    assert.equal(await queue.markSent(second), false);
    assert.deepEqual(await queue.count(), { pending: 0, oldestSeconds: 0 });
  });

  it('claims an event again after its lease expired', async () => {
    await make(1);
    const [late] = await queue.claim(9, 1);
    await eventually(async () => {
      const [again] = await queue.claim(9, minute);
      if (again !== undefined) assert.deepEqual([again.id, again.attempts], [late?.id, 2]);
      return again !== undefined;
    });
    // The expired holder failed, which must not affect the new lease.
    await queue.postpone(late ? [{ event: late, delayMs: 0 }] : []);
    assert.deepEqual(await queue.claim(9, minute), []);
  });

  it('claims a postponed event again after its delay, and blocks only its subject', async () => {
    await make(1, 1, 2);
    const claimed = await queue.claim(9, minute);
    await queue.postpone(
      claimed.map((event) => ({ event, delayMs: event.subject === 'things/1' ? minute : 0 })),
    );
    await make(3);
    await eventually(async () => {
      const again = await queue.claim(9, minute);
      return names(again).includes('things/2 v1');
    });
    const waiting = await rowsIn<{ subject: string }>(
      database,
      sql`select subject from outbox where attempts < 2 and sent_at is null order by position`,
    );
    assert.deepEqual(waiting.slice(0, 2), [{ subject: 'things/1' }, { subject: 'things/1' }]);
  });

  it('moves a rejected event to the dead letters and unblocks its subject', async () => {
    await make(1, 1);
    const [event] = await queue.claim(9, minute);
    assert.ok(event);
    await queue.deadLetter(event, 'the sink returned 400');
    await queue.deadLetter(event, 'twice');
    const letters = await rowsIn(
      database,
      sql`select side, event_id, type, subject, event, error, attempts from dead_letters`,
    );
    assert.deepEqual(letters, [
      {
        side: 'sending',
        event_id: event.id,
        type: event.type,
        subject: event.subject,
        event: event.text,
        error: 'the sink returned 400',
        attempts: 1,
      },
    ]);
    assert.deepEqual(names(await queue.claim(9, minute)), ['things/1 v2']);
  });

  it('counts unsent events and reports the age of the oldest', async () => {
    await make(1, 2);
    await database.query((db) =>
      db.execute(
        sql`update outbox set created_at = now() - interval '90 seconds' where subject = 'things/1'`,
      ),
    );
    const { pending, oldestSeconds } = await queue.count();
    assert.equal(pending, 2);
    assert.ok(oldestSeconds >= 90 && oldestSeconds < 120, String(oldestSeconds));
  });

  it('never leases two events of one subject under concurrent claims, sends and writes', async () => {
    const subjects = 5;
    const perSubject = 20;
    const sent = new Map<string, number>();
    const held = new Set<string>();
    const writers = Array.from({ length: subjects }, async (_, id) => {
      for (let count = 0; count < perSubject; count += 1) await makeThing(database, id);
    });
    const done = () =>
      [...sent.values()].reduce((sum, version) => sum + version, 0) === subjects * perSubject;
    const relays = Array.from({ length: 4 }, async () => {
      while (!done()) {
        const events = await queue.claim(2, minute);
        for (const { subject, text } of events) {
          assert.ok(!held.has(subject), `${subject} is leased twice`);
          held.add(subject);
          const version = Number(JSON.parse(text).sequence);
          assert.equal(version, (sent.get(subject) ?? 0) + 1);
          sent.set(subject, version);
        }
        await new Promise(setImmediate);
        for (const { subject } of events) held.delete(subject);
        await queue.markSent(events);
      }
    });
    await Promise.all([...writers, ...relays]);
  });
});

describeOnEachEngine(
  'claims on a large outbox',
  { migrations: eventTables, engines: ['postgres'] },
  (openDatabase) => {
    it('read few extra rows with many sent and many unsent events', async () => {
      const database = await openDatabase();
      await database.transaction((tx) =>
        tx.execute(sql`insert into outbox (id, type, subject, event, sent_at)
        select gen_random_uuid(), 'zerda.thing.made.v1', 'things/' || n % 50000, '{}',
          case when n <= 200000 then now() end from generate_series(1, 300000) as n`),
      );
      await database.query((db) => db.execute(sql`analyze outbox`));
      const { steps, discarded } = await explain(database, () => claimStatement(128, minute));
      assert.ok(!steps.includes('Seq Scan') && !steps.includes('Sort'), steps.join(', '));
      assert.ok(discarded <= 1000, `${discarded} rows read and discarded`);
    });

    it('read few extra rows if the statistics predate a new backlog', async () => {
      const database = await openDatabase();
      const fill = (from: number, to: number, sentAt: SQL) =>
        database.transaction((tx) =>
          tx.execute(sql`insert into outbox (id, type, subject, event, sent_at)
          select gen_random_uuid(), 'zerda.thing.made.v1', 'things/' || n, '{}', ${sentAt}
          from generate_series(${from}::int, ${to}::int) as n`),
        );
      await database.query((db) => db.execute(sql`alter table outbox set (autovacuum_enabled = false)`));
      await fill(1, 10_000, sql`now()`);
      await database.query((db) => db.execute(sql`analyze outbox`));
      await fill(10_001, 30_000, sql`null`);
      const { discarded } = await explain(database, () => claimStatement(128, minute));
      // At worst one check of each event that is claimed before.
      assert.ok(discarded <= 128 * 128, `${discarded} rows read and discarded`);
    });
  },
);
