import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { EventEnvelope } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { type CountingDatabase, countDeadlocks, describeOnEachEngine } from '../database/testing.ts';
import { cleanEvents } from './clean-events.ts';
import { buryReceived, countFailure, judge, note } from './inbox.ts';
import { type ClaimedEvent, createOutboxQueue } from './outbox-queue.ts';
import { createThings, eventTables, makeThing, rowsIn } from './testing-things.ts';

// One process has one connection to PGlite, which cannot wait for itself.
describeOnEachEngine('events, concurrently', { migrations: eventTables, engines: ['postgres'] }, (open) => {
  let database: Database;
  let counting: CountingDatabase;

  before(async () => {
    database = await open();
    await createThings(database);
  });
  beforeEach(async () => {
    counting = countDeadlocks(database);
    await database.read((db) =>
      db.execute(sql`truncate outbox, dead_letters, inbox, inbox_failures, things`),
    );
  });

  it('do not deadlock when relays whose leases have run out write about the same events', async () => {
    const relays = [1, 2, 3, 4].map(() => createOutboxQueue(counting.database));
    for (let round = 0; round < 8; round += 1) {
      for (let id = 0; id < 60; id += 1) await makeThing(database, id);
      const claimed: ClaimedEvent[] = [];
      for (const relay of relays) claimed.push(...(await relay.claim(60, 0)));
      const events = [...new Map(claimed.map((event) => [event.position, event])).values()];
      const backwards = events.toReversed();
      await Promise.all(
        relays.flatMap((relay, index) => {
          const mine = index % 2 === 0 ? events : backwards;
          return [
            relay.postpone(mine.map((event) => ({ event, delayMs: 0 }))),
            relay.markSent(mine.slice(0, 40)),
            relay.claim(20, 0),
            cleanEvents({ database: counting.database, keptForHours: 0, hears: true }),
          ];
        }),
      );
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock when one delivery of an event is dealt with while another is given up', async () => {
    const envelope = (id: number): EventEnvelope =>
      ({
        ...{ id: `event-${id}`, source: '/things', type: 'zerda.thing.made.v1', subject: `things/${id}` },
        sequence: '1'.padStart(19, '0'),
      }) as EventEnvelope;
    for (let round = 0; round < 40; round += 1) {
      const event = envelope(round);
      const burial = { ...event, text: '{}', error: 'wrong', attempts: 1 };
      await database.write((tx) => countFailure(tx, event, 'failed'));
      await database.write((tx) => buryReceived(tx, burial));
      await database.write((tx) => countFailure(tx, event, 'failed'));
      const { write } = counting.database;
      await Promise.all([
        ...[1, 2, 3].map(() => write((tx) => buryReceived(tx, burial))),
        write(async (tx) => {
          if ((await judge(tx, event)) === 'news') await note(tx, event, { applied: true });
        }),
        write(async (tx) => {
          await countFailure(tx, event, 'failed again');
          await buryReceived(tx, burial);
        }),
        cleanEvents({ database: counting.database, keptForHours: 0, hears: true }),
      ]);
    }
    assert.equal(counting.deadlocks, 0);
    assert.ok((await rowsIn(database, sql`select 1 from inbox_subjects`)).length >= 40);
  });
});
