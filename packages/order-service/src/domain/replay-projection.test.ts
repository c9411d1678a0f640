import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { StartupError } from '@zerda/chassis/startup-error';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { addKnownUsers, markUserDeleted, readUserState } from '../store/known-users.ts';
import { createOrderStore, insertOrder } from '../store/order-store.ts';
import { createUserProjection } from '../store/user-projection.ts';
import { replayProjection } from './replay-projection.ts';

describeOnEachEngine('replay of the projection', { migrations }, (openDatabase) => {
  let database: Database;
  let checkedIds: number[] = [];

  before(async () => {
    database = await openDatabase();
  });
  beforeEach(async () => {
    checkedIds = [];
    await database.transaction((tx) => tx.execute(sql`truncate orders, order_counters, known_users, outbox`));
  });

  /** Returns the projection and a user-service with these users. Its pages omit `unlisted`, as if they were created after the page was read. */
  function userServiceWith(ids: readonly number[], unlisted: readonly number[] = []) {
    const listed = ids.filter((id) => !unlisted.includes(id));
    const users = {
      async idsAfter(after: number) {
        return listed.filter((id) => id > after).slice(0, 3);
      },
      async exists(id: number) {
        checkedIds.push(id);
        return ids.includes(id);
      },
    };
    return { projection: createUserProjection(database), users };
  }

  const states = (ids: readonly number[]) =>
    Promise.all(ids.map((id) => database.query((db) => readUserState(db, id))));

  it('adds every user of user-service, page by page', async () => {
    const ids = [1, 2, 3, 4, 5, 6, 7, 90];
    assert.deepEqual(await replayProjection(userServiceWith(ids)), { knownUsers: 8, deletedUsers: 0 });
    assert.deepEqual(
      await states(ids),
      ids.map(() => 'known'),
    );
    assert.deepEqual(checkedIds, []);
  });

  it('marks users that no longer exist as deleted and cancels their open orders', async () => {
    await database.transaction(async (tx) => {
      await addKnownUsers(tx, [1, 2, 5]);
      for (const user_id of [1, 2, 3, 8]) {
        await insertOrder(tx, { user_id, product: 'x', quantity: 1, total: 1 });
      }
    });
    assert.deepEqual(await replayProjection(userServiceWith([1, 4, 6, 7])), {
      knownUsers: 4,
      deletedUsers: 4,
    });
    assert.deepEqual(await states([1, 2, 3, 5, 8]), ['known', 'deleted', 'deleted', 'deleted', 'deleted']);
    const pendingOrders = await createOrderStore(database).list({ status: 'pending', limit: 10 });
    assert.deepEqual(
      pendingOrders.map(({ userId }) => userId),
      [1],
    );
    assert.deepEqual(checkedIds.toSorted(), [2, 3, 5, 8]);
    assert.deepEqual(await replayProjection(userServiceWith([1, 4, 6, 7])), {
      knownUsers: 4,
      deletedUsers: 0,
    });
  });

  it('does not restore a user that was deleted while a page was in flight', async () => {
    await database.transaction((tx) => markUserDeleted(tx, 2));
    await replayProjection(userServiceWith([1, 2, 3]));
    assert.deepEqual(await states([1, 2, 3]), ['known', 'deleted', 'known']);
  });

  it('keeps a user that was created after its page was read', async () => {
    await database.transaction((tx) => addKnownUsers(tx, [2]));
    await replayProjection(userServiceWith([1, 2, 3, 4, 5], [2]));
    assert.deepEqual([await states([2]), checkedIds], [['known'], [2]]);
  });

  it('throws a StartupError when user-service does not respond', async () => {
    const { users, ...rest } = userServiceWith([]);
    const unavailable = { ...users, idsAfter: () => Promise.reject(new Error('connect ECONNREFUSED')) };
    await assert.rejects(replayProjection({ ...rest, users: unavailable }), (error) => {
      assert.ok(error instanceof StartupError);
      assert.match(error.message, /^user-service did not respond \(connect ECONNREFUSED\)/);
      return true;
    });
  });
});
