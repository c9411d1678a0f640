import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { type CountingDatabase, countDeadlocks, describeOnEachEngine } from '@zerda/chassis/testing/database';
import type { EventEnvelope } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import { createThingTables, eventTables, makeThing, rowsIn } from '../testing/things.ts';
import { cleanEvents } from './clean-events.ts';
import { classify, countFailure, deadLetterReceived, recordProcessed } from './inbox.ts';
import { type ClaimedEvent, createOutboxQueue } from './outbox-queue.ts';

// PGlite has one connection per process, so transactions cannot wait for each other.
describeOnEachEngine(
  'concurrent event transactions',
  { migrations: eventTables, engines: ['postgres'] },
  (openDatabase) => {
    let database: Database;
    let counting: CountingDatabase;

    before(async () => {
      database = await openDatabase();
      await createThingTables(database);
    });
    beforeEach(async () => {
      counting = countDeadlocks(database);
      await database.query((db) =>
        db.execute(sql`truncate outbox, dead_letters, inbox, inbox_failures, things`),
      );
    });

    it('do not deadlock if relays with expired leases update the same events', async () => {
      const relays = [1, 2, 3, 4].map(() => createOutboxQueue(counting.database));
      for (let round = 0; round < 8; round += 1) {
        for (let id = 0; id < 60; id += 1) await makeThing(database, id);
        const claimed: ClaimedEvent[] = [];
        for (const relay of relays) claimed.push(...(await relay.claim(60, 0)));
        const events = [...new Map(claimed.map((event) => [event.position, event])).values()];
        const backwards = events.toReversed();
        await Promise.all(
          relays.flatMap((relay, index) => {
            const ordered = index % 2 === 0 ? events : backwards;
            return [
              relay.postpone(ordered.map((event) => ({ event, delayMs: 0 }))),
              relay.markSent(ordered.slice(0, 40)),
              relay.claim(20, 0),
              cleanEvents({ database: counting.database, retentionHours: 0, hasInbox: true }),
            ];
          }),
        );
      }
      assert.equal(counting.deadlocks, 0);
    });

    it('do not deadlock if one delivery applies an event while another dead-letters it', async () => {
      const envelope = (id: number): EventEnvelope =>
        ({
          id: `event-${id}`,
          source: '/things',
          type: 'zerda.thing.made.v1',
          subject: `things/${id}`,
          sequence: '1'.padStart(19, '0'),
        }) as EventEnvelope;
      for (let round = 0; round < 40; round += 1) {
        const event = envelope(round);
        const deadLetter = { ...event, text: '{}', error: 'wrong', attempts: 1 };
        await database.transaction((tx) => countFailure(tx, event, 'failed'));
        await database.transaction((tx) => deadLetterReceived(tx, deadLetter));
        await database.transaction((tx) => countFailure(tx, event, 'failed'));
        const { transaction: write } = counting.database;
        await Promise.all([
          ...[1, 2, 3].map(() => write((tx) => deadLetterReceived(tx, deadLetter))),
          write(async (tx) => {
            if ((await classify(tx, event)) === 'new') await recordProcessed(tx, event, { applied: true });
          }),
          write(async (tx) => {
            await countFailure(tx, event, 'failed again');
            await deadLetterReceived(tx, deadLetter);
          }),
          cleanEvents({ database: counting.database, retentionHours: 0, hasInbox: true }),
        ]);
      }
      assert.equal(counting.deadlocks, 0);
      assert.ok((await rowsIn(database, sql`select 1 from inbox_subjects`)).length >= 40);
    });
  },
);
