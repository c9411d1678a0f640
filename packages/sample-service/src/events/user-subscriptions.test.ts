import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { it } from 'node:test';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { subjectOf } from '@zerda/contracts/events/definition';
import { sequenceOf } from '@zerda/contracts/events/envelope';
import { userEvents } from '@zerda/contracts/user-service/events';
import { eventMetrics } from '@zerda/events/event-metrics';
import { createReceiver } from '@zerda/events/receiver';
import { migrations } from '../../testing/app.ts';
import { createSampleItemStore } from '../store/sample-item-store.ts';
import { userSubscriptions } from './user-subscriptions.ts';

/** Returns the event of a deleted user, as user-service sends it. */
function userDeleted(id: number): string {
  const { source, type } = userEvents.userDeleted;
  const time = '2026-01-01T00:00:00.000Z';
  return JSON.stringify({
    specversion: '1.0',
    id: randomUUID(),
    source,
    type,
    subject: subjectOf(userEvents.userDeleted, id),
    time,
    datacontenttype: 'application/json',
    sequence: sequenceOf(2),
    data: { id, deleted_at: time },
  });
}

describeOnEachEngine('events that sample-service receives', { migrations }, (openDatabase) => {
  it('delete all rows of a deleted user, and only those', async () => {
    const database = await openDatabase();
    const store = createSampleItemStore(database);
    const receiver = createReceiver({
      database,
      subscriptions: userSubscriptions,
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
    });
    // More than one batch.
    for (let index = 0; index < 150; index += 1) await store.create({ user_id: 1, name: `Row ${index}` });
    const other = await store.create({ user_id: 2, name: 'Other' });
    const event = userDeleted(1);
    assert.equal((await receiver.receive(event)).outcome, 'applied');
    assert.deepEqual(
      (await store.list({ limit: 200 })).map(({ id }) => id),
      [other.id],
    );
    assert.equal((await receiver.receive(event)).outcome, 'duplicate');
  });
});
