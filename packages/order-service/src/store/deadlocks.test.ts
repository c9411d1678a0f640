import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import {
  type CountingDatabase,
  countDeadlocks,
  describeOnEachEngine,
  settle,
  untilWaiting,
} from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import { createGate } from '@zerda/chassis/testing';
import type { OrderStatus } from '@zerda/contracts/orders';
import { sql } from 'drizzle-orm';
import { moveStatus } from '../domain/order-status.ts';
import { cancelForDeletedUser } from '../events/user-subscriptions.ts';
import { migrations } from '../testing.ts';
import { rememberUsers } from './known-users.ts';
import { createOrderStore, type OrderStore } from './order-store.ts';

describeOnEachEngine('orders, concurrently', { migrations, engines: ['postgres'] }, (open) => {
  let counting: CountingDatabase;
  let store: OrderStore;

  before(async () => {
    counting = countDeadlocks(await open());
    store = createOrderStore(counting.database);
  });

  const expected = (error: unknown) => assert.ok(error instanceof Failure, String(error));

  async function place(user_id: number, key?: string): Promise<number> {
    const order = { user_id, product: 'Desk', quantity: 1, total: 10 };
    const keyed =
      key === undefined ? undefined : { key, caller: 'x', method: 'POST', path: '/', body: order };
    return (await store.place(order, keyed, ({ id }) => ({ body: id }))).body as number;
  }

  it('do not deadlock while they are placed, moved on, canceled and their users deleted', async () => {
    const users = [1, 2, 3, 4];
    for (let round = 1; round <= 2; round += 1) {
      const ids = await Promise.all(
        Array.from({ length: 60 }, (_, n) => place(round * 10 + (users[n % 4] as number))),
      );
      const to = (status: OrderStatus) => (from: OrderStatus) => moveStatus(from, status);
      const placed = ids.map((_, n) => place(round * 10 + (users[n % 4] as number), `${round} ${n % 20}`));
      await settle(
        [
          ...placed.map((order) => ['order', order] as const),
          ...ids.map((id) => ['move', store.changeStatus(id, to('processing'))] as const),
          ...ids.toReversed().map((id) => ['cancellation', store.changeStatus(id, to('cancelled'))] as const),
          ...users.flatMap((user, at) =>
            // A saga that another process begins while the first is amid it; before them the user has one more order.
            [1, 2, 3].map(() => {
              const cancel = () =>
                counting.database.write((tx) => cancelForDeletedUser(tx, round * 10 + user));
              return ['saga', (placed[at] as Promise<number>).then(cancel)] as const;
            }),
          ),
        ],
        expected,
      );
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock while several processes learn of the same users in different orders', async () => {
    const { database } = counting;
    const users = Array.from({ length: 2000 }, (_, n) => 10_000 + n);
    const [held, released] = [createGate(), createGate()];
    // All get as far as a user in the middle: in orders of their own some would have the first users by then, and some the last.
    const holding = database.write(async (tx) => {
      await rememberUsers(tx, [users[1000] as number]);
      held.open();
      await released.pass();
    });
    await held.pass();
    const learning = [users, users.toReversed(), users, users.toReversed()].map((order) =>
      database.write((tx) => rememberUsers(tx, order)),
    );
    await untilWaiting(database, learning.length);
    released.open();
    await Promise.all([holding, ...learning]);
    const [row] = await database.read((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*) as n from known_users where user_id >= 10000`),
    );
    assert.equal(row?.n, users.length);
    assert.equal(counting.deadlocks, 0);
  });
});
