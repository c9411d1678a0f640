import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { eventEnvelope } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import {
  createThingTables,
  eventTables,
  makeThing,
  makeThingIn,
  rowsIn,
  thingMade,
} from '../testing/things.ts';
import { appendEvents, newEvent, wakingAfterCommit } from './outbox.ts';

describeOnEachEngine('outbox', { migrations: eventTables }, (openDatabase) => {
  let database: Database;

  before(async () => {
    database = await openDatabase();
    await createThingTables(database);
  });

  const written = () =>
    rowsIn<{ event: unknown; id: string; type: string; subject: string }>(
      database,
      sql`select * from outbox order by position`,
    );

  it('stores a complete CloudEvent with the correlation id and traceparent of the request', async () => {
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

  it('stores nothing if the transaction rolls back or the data does not match the schema', async () => {
    const before = await written();
    const failing = database.transaction(async (tx) => {
      await makeThingIn(tx, 8);
      throw new Error('roll back');
    });
    await assert.rejects(failing, /roll back/);
    const surplus = { id: 8, text: 'x', secret: 'y' };
    const wrong = database.transaction((tx) =>
      appendEvents(tx, [newEvent(thingMade, { id: 8, version: 1, data: surplus })]),
    );
    await assert.rejects(wrong, /secret/);
    assert.deepEqual(await written(), before);
  });

  it('calls wake only after the commit of a transaction that wrote events', async () => {
    const seen: number[] = [];
    let pending: Promise<unknown> = Promise.resolve();
    const waking = wakingAfterCommit(database, () => {
      pending = written().then((rows) => seen.push(rows.length));
    });
    const { length } = await written();
    await waking.transaction((tx) => tx.execute(sql`select 1`));
    await assert.rejects(
      waking.transaction(async (tx) => {
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
