import assert from 'node:assert/strict';
import { beforeEach, it } from 'node:test';
import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { describeOnEachEngine } from '../database/testing.ts';
import { explain } from '../database/testing-plans.ts';
import { type ClaimedEvent, claimStatement, createOutboxQueue, type OutboxQueue } from './outbox-queue.ts';
import { createThings, eventTables, makeThing, rowsIn } from './testing-things.ts';
import { until } from './testing-transport.ts';

const minute = 60_000;

describeOnEachEngine('queue of the outbox', { migrations: eventTables }, (open) => {
  let database: Database;
  let queue: OutboxQueue;

  beforeEach(async () => {
    database ??= await open();
    queue ??= createOutboxQueue(database);
    await createThings(database);
    await database.read((db) => db.execute(sql`truncate outbox, dead_letters, things`));
  });

  /** What was claimed, as subject and version. */
  const names = (events: readonly ClaimedEvent[]) =>
    events.map(({ subject, text }) => `${subject} v${Number(JSON.parse(text).sequence)}`).sort();

  async function make(...ids: number[]): Promise<void> {
    for (const id of ids) await makeThing(database, id);
  }

  it('hands out the oldest event of each subject, each to one claim', async () => {
    await make(1, 1, 2, 1, 3);
    const [first, second] = [await queue.claim(2, minute), await queue.claim(9, minute)];
    assert.deepEqual([names(first), names(second)], [['things/1 v1', 'things/2 v1'], ['things/3 v1']]);
    assert.deepEqual(await queue.claim(9, minute), []);
  });

  it('hands out the next one only when the one before was sent, and says that there is one', async () => {
    await make(1, 1);
    const first = await queue.claim(9, minute);
    assert.equal(await queue.markSent(first), true);
    const second = await queue.claim(9, minute);
    assert.deepEqual(names(second), ['things/1 v2']);
    assert.equal(await queue.markSent(second), false);
    assert.deepEqual(await queue.count(), { pending: 0, oldestSeconds: 0 });
  });

  it('hands an event out again when its lease has run out', async () => {
    await make(1);
    const [late] = await queue.claim(9, 1);
    await until(async () => {
      const [again] = await queue.claim(9, minute);
      if (again !== undefined) assert.deepEqual([again.id, again.attempts], [late?.id, 2]);
      return again !== undefined;
    });
    // The late holder failed; that is no reason to take the event from the new one.
    await queue.postpone(late ? [{ event: late, delayMs: 0 }] : []);
    assert.deepEqual(await queue.claim(9, minute), []);
  });

  it('hands a postponed event out again after its time, and holds up its subject alone', async () => {
    await make(1, 1, 2);
    const claimed = await queue.claim(9, minute);
    await queue.postpone(
      claimed.map((event) => ({ event, delayMs: event.subject === 'things/1' ? minute : 0 })),
    );
    await make(3);
    await until(async () => {
      const again = await queue.claim(9, minute);
      return names(again).includes('things/2 v1');
    });
    const waiting = await rowsIn<{ subject: string }>(
      database,
      sql`select subject from outbox where attempts < 2 and sent_at is null order by position`,
    );
    assert.deepEqual(waiting.slice(0, 2), [{ subject: 'things/1' }, { subject: 'things/1' }]);
  });

  it('moves what was refused to the dead letters, and lets the next of its subject go on', async () => {
    await make(1, 1);
    const [event] = await queue.claim(9, minute);
    assert.ok(event);
    await queue.bury(event, 'the sink answered 400');
    await queue.bury(event, 'twice');
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
        error: 'the sink answered 400',
        attempts: 1,
      },
    ]);
    assert.deepEqual(names(await queue.claim(9, minute)), ['things/1 v2']);
  });

  it('counts what waits, and for how long', async () => {
    await make(1, 2);
    await database.read((db) =>
      db.execute(
        sql`update outbox set created_at = now() - interval '90 seconds' where subject = 'things/1'`,
      ),
    );
    const { pending, oldestSeconds } = await queue.count();
    assert.equal(pending, 2);
    assert.ok(oldestSeconds >= 90 && oldestSeconds < 120, String(oldestSeconds));
  });

  it('never lets two have events of one subject, whoever claims, sends and writes at the same time', async () => {
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
          assert.ok(!held.has(subject), `${subject} is held twice`);
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

describeOnEachEngine('claims among many rows', { migrations: eventTables, engines: ['postgres'] }, (open) => {
  it('read little more than they hand out, though much was sent and much waits', async () => {
    const database = await open();
    await database.write((tx) =>
      tx.execute(sql`insert into outbox (id, type, subject, event, sent_at)
        select gen_random_uuid(), 'zerda.thing.made.v1', 'things/' || n % 50000, '{}',
          case when n <= 200000 then now() end from generate_series(1, 300000) as n`),
    );
    await database.read((db) => db.execute(sql`analyze outbox`));
    const { steps, discarded } = await explain(database, () => claimStatement(128, minute));
    assert.ok(!steps.includes('Seq Scan') && !steps.includes('Sort'), steps.join(', '));
    assert.ok(discarded <= 1000, `${discarded} rows read in vain`);
  });

  it('read little when all was sent a moment ago and much waits now, which the statistics do not know yet', async () => {
    const database = await open();
    const fill = (from: number, to: number, sentAt: SQL) =>
      database.write((tx) =>
        tx.execute(sql`insert into outbox (id, type, subject, event, sent_at)
          select gen_random_uuid(), 'zerda.thing.made.v1', 'things/' || n, '{}', ${sentAt}
          from generate_series(${from}::int, ${to}::int) as n`),
      );
    await database.read((db) => db.execute(sql`alter table outbox set (autovacuum_enabled = false)`));
    await fill(1, 10_000, sql`now()`);
    await database.read((db) => db.execute(sql`analyze outbox`));
    await fill(10_001, 30_000, sql`null`);
    const { discarded } = await explain(database, () => claimStatement(128, minute));
    // At worst one look at each event that is handed out before.
    assert.ok(discarded <= 128 * 128, `${discarded} rows read in vain`);
  });
});
