import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { Failure } from '@zerda/chassis/failure';
import { createIdempotency, type Idempotency } from '@zerda/chassis/idempotency/idempotency';
import {
  awaitOutcomes,
  type CountingDatabase,
  countDeadlocks,
  describeOnEachEngine,
  untilWaiting,
} from '@zerda/chassis/testing/database';
import { createGate } from '@zerda/chassis/testing/observed';
import type { OrderStatus } from '@zerda/contracts/order-service/orders';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { placeOf } from '../../testing/orders.ts';
import type { Order } from '../domain/order.ts';
import { moveStatus } from '../domain/order-status.ts';
import { cancelForDeletedUser } from './cancel-orders.ts';
import { addKnownUsers } from './known-users.ts';
import { createOrderStore, type OrderStore } from './order-store.ts';

describeOnEachEngine('orders, concurrently', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counting: CountingDatabase;
  let store: OrderStore;
  let idempotency: Idempotency;

  before(async () => {
    counting = countDeadlocks(await openDatabase());
    store = createOrderStore(counting.database);
    idempotency = createIdempotency(counting.database);
  });

  const expected = (error: unknown) => assert.ok(error instanceof Failure, String(error));

  async function place(user_id: number, key?: string): Promise<number> {
    const order = { user_id, product: 'Desk', quantity: 1, total: 10 };
    const keyed =
      key === undefined ? undefined : { key, caller: 'x', method: 'POST', path: '/', body: order };
    const response = await idempotency.run(
      keyed,
      (once) => placeOf(store, order, once),
      ({ id }: Order) => ({ body: id }),
    );
    return response.body;
  }

  it('do not deadlock while they are placed, changed and canceled and their users are deleted', async () => {
    const users = [1, 2, 3, 4];
    for (let round = 1; round <= 2; round += 1) {
      const ids = await Promise.all(
        Array.from({ length: 60 }, (_, n) => place(round * 10 + (users[n % 4] as number))),
      );
      const to = (status: OrderStatus) => (from: OrderStatus) => moveStatus(from, status);
      const placed = ids.map((_, n) => place(round * 10 + (users[n % 4] as number), `${round} ${n % 20}`));
      await awaitOutcomes(
        [
          ...placed.map((order) => ['order', order] as const),
          ...ids.map((id) => ['move', store.changeStatus(id, to('processing'))] as const),
          ...ids.toReversed().map((id) => ['cancellation', store.changeStatus(id, to('cancelled'))] as const),
          ...users.flatMap((user, at) =>
            // Several processes run the saga of the same user concurrently, after one more order of that user.
            [1, 2, 3].map(() => {
              const cancel = () =>
                counting.database.transaction((tx) => cancelForDeletedUser(tx, round * 10 + user));
              return ['saga', (placed[at] as Promise<number>).then(cancel)] as const;
            }),
          ),
        ],
        expected,
      );
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock while several processes add the same users in different orders', async () => {
    const { database } = counting;
    const users = Array.from({ length: 2000 }, (_, n) => 10_000 + n);
    const [locked, released] = [createGate(), createGate()];
    // All writers stop at a user in the middle. Without a common order, some would hold the first users and some the last.
    const holding = database.transaction(async (tx) => {
      await addKnownUsers(tx, [users[1000] as number]);
      locked.open();
      await released.pass();
    });
    await locked.pass();
    const adding = [users, users.toReversed(), users, users.toReversed()].map((order) =>
      database.transaction((tx) => addKnownUsers(tx, order)),
    );
    await untilWaiting(database, adding.length);
    released.open();
    await Promise.all([holding, ...adding]);
    const [row] = await database.query((db) =>
      rowsOf<{ n: number }>(db, sql`select count(*) as n from known_users where user_id >= 10000`),
    );
    assert.equal(row?.n, users.length);
    assert.equal(counting.deadlocks, 0);
  });
});
