import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { type CountingDatabase, countDeadlocks, describeOnEachEngine } from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import type { OrderStatus } from '@zerda/contracts/orders';
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
      await Promise.all([
        ...ids.map((id) => store.changeStatus(id, to('processing')).catch(expected)),
        ...ids.toReversed().map((id) => store.changeStatus(id, to('cancelled')).catch(expected)),
        ...users.flatMap((user) =>
          // A saga that another process begins while the first is amid it.
          [1, 2, 3].map(() => counting.database.write((tx) => cancelForDeletedUser(tx, round * 10 + user))),
        ),
        ...ids.map((_, n) =>
          place(round * 10 + (users[n % 4] as number), `${round} ${n % 20}`).catch(expected),
        ),
      ]);
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock while several processes learn of the same users in different orders', async () => {
    for (let round = 1; round <= 5; round += 1) {
      const users = Array.from({ length: 2000 }, (_, n) => round * 10_000 + n);
      await Promise.all(
        [users, users.toReversed(), users, users.toReversed()].map((order) =>
          counting.database.write((tx) => rememberUsers(tx, order)),
        ),
      );
    }
    assert.equal(counting.deadlocks, 0);
  });
});
