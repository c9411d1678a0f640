import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { eventEnvelope } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { describeOnEachEngine } from '../database/testing.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { announce, append, wakingAfterCommit } from './outbox.ts';
import { createThings, eventTables, makeThing, makeThingIn, rowsIn, thingMade } from './testing-things.ts';

describeOnEachEngine('outbox', { migrations: eventTables }, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    await createThings(database);
  });

  const written = () =>
    rowsIn<{ event: unknown; id: string; type: string; subject: string }>(
      database,
      sql`select * from outbox order by position`,
    );

  it('has a whole CloudEvent for each write, which says what request it came from', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await runInContext({ correlationId: 'request-1', deadline: Deadline.after(1000), traceparent }, () =>
      makeThing(database, 7, 'first'),
    );
    const [row] = await written();
    const event = eventEnvelope.parse(row?.event);
    const { id, time, ...rest } = event;
    assert.deepEqual(rest, {
      specversion: '1.0',
      source: '/things',
      type: 'zerda.thing.made.v1',
      subject: 'things/7',
      datacontenttype: 'application/json',
      sequence: '0000000001',
      correlationid: 'request-1',
      traceparent,
      data: { id: 7, text: 'first' },
    });
    assert.deepEqual([row?.id, row?.type, row?.subject], [id, event.type, event.subject]);
  });

  it('has nothing of a write that failed, and no event that is not as its schema has it', async () => {
    const before = await written();
    const failing = database.write(async (tx) => {
      await makeThingIn(tx, 8);
      throw new Error('changed my mind');
    });
    await assert.rejects(failing, /changed my mind/);
    const surplus = { id: 8, text: 'x', secret: 'y' };
    const wrong = database.write((tx) =>
      append(tx, [announce(thingMade, { id: 8, version: 1, data: surplus })]),
    );
    await assert.rejects(wrong, /secret/);
    assert.deepEqual(await written(), before);
  });

  it('wakes after the commit of a transaction with events, and of no other', async () => {
    const seen: number[] = [];
    let pending: Promise<unknown> = Promise.resolve();
    const waking = wakingAfterCommit(database, () => {
      pending = written().then((rows) => seen.push(rows.length));
    });
    const { length } = await written();
    await waking.write((tx) => tx.execute(sql`select 1`));
    await assert.rejects(
      waking.write(async (tx) => {
        await makeThingIn(tx, 9);
        throw new Error('no');
      }),
    );
    assert.deepEqual(seen, []);
    await makeThing(waking, 9);
    await pending;
    assert.deepEqual(seen, [length + 1]);
  });
});
