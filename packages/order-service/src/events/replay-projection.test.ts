import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { StartupError } from '@zerda/chassis/startup-error';
import { sql } from 'drizzle-orm';
import { forgetUser, rememberUsers } from '../store/known-users.ts';
import { createOrderStore, insertOrder } from '../store/order-store.ts';
import { migrations } from '../testing.ts';
import { replayProjection } from './replay-projection.ts';

describeOnEachEngine('replay of the projection', { migrations }, (open) => {
  let database: Database;
  let asked: number[] = [];

  before(async () => {
    database = await open();
  });
  beforeEach(async () => {
    asked = [];
    await database.write((tx) => tx.execute(sql`truncate orders, order_counters, known_users, outbox`));
  });

  /** A user-service with these users, some of whom it lists no more than it must. */
  function userServiceWith(ids: readonly number[], unlisted: readonly number[] = []) {
    const listed = ids.filter((id) => !unlisted.includes(id));
    const users = {
      async idsAfter(after: number) {
        return listed.filter((id) => id > after).slice(0, 3);
      },
      async exists(id: number) {
        asked.push(id);
        return ids.includes(id);
      },
    };
    return { database, users };
  }

  const states = (ids: readonly number[]) =>
    Promise.all(ids.map((id) => createOrderStore(database).findUser(id)));

  it('knows everybody whom user-service has, page by page', async () => {
    const ids = [1, 2, 3, 4, 5, 6, 7, 90];
    assert.deepEqual(await replayProjection(userServiceWith(ids)), { known: 8, forgotten: 0 });
    assert.deepEqual(
      await states(ids),
      ids.map(() => 'known'),
    );
    assert.deepEqual(asked, []);
  });

  it('forgets who is gone, and cancels their open orders', async () => {
    await database.write(async (tx) => {
      await rememberUsers(tx, [1, 2, 5]);
      for (const user_id of [1, 2, 3, 8]) {
        await insertOrder(tx, { user_id, product: 'x', quantity: 1, total: 1 });
      }
    });
    assert.deepEqual(await replayProjection(userServiceWith([1, 4, 6, 7])), { known: 4, forgotten: 4 });
    assert.deepEqual(await states([1, 2, 3, 5, 8]), ['known', 'deleted', 'deleted', 'deleted', 'deleted']);
    const open = await createOrderStore(database).list({ status: 'pending', limit: 10 });
    assert.deepEqual(
      open.map(({ userId }) => userId),
      [1],
    );
    assert.deepEqual(asked.toSorted(), [2, 3, 5, 8]);
    assert.deepEqual(await replayProjection(userServiceWith([1, 4, 6, 7])), { known: 4, forgotten: 0 });
  });

  it('makes nobody known again who was deleted while a page was on its way', async () => {
    await database.write((tx) => forgetUser(tx, 2));
    await replayProjection(userServiceWith([1, 2, 3]));
    assert.deepEqual(await states([1, 2, 3]), ['known', 'deleted', 'known']);
  });

  it('forgets nobody who was created too late for their page', async () => {
    await database.write((tx) => rememberUsers(tx, [2]));
    await replayProjection(userServiceWith([1, 2, 3, 4, 5], [2]));
    assert.deepEqual([await states([2]), asked], [['known'], [2]]);
  });

  it('says in a line that user-service does not answer', async () => {
    const { users } = userServiceWith([]);
    const away = { ...users, idsAfter: () => Promise.reject(new Error('connect ECONNREFUSED')) };
    await assert.rejects(replayProjection({ database, users: away }), (error) => {
      assert.ok(error instanceof StartupError);
      assert.match(error.message, /^user-service does not answer \(connect ECONNREFUSED\)/);
      return true;
    });
  });
});
