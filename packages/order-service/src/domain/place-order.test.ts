import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import type { Once } from '@zerda/chassis/idempotency/idempotency';
import { isFailure } from '@zerda/chassis/testing/observed';
import type { Order } from './order.ts';
import { createPlaceOrder, type PlaceOrderDependencies, type UserState } from './place-order.ts';

const placed = { id: 1 } as Order;
const order = { user_id: 7, product: 'Desk', quantity: 1, total: 80 };

function dependencies(users: PlaceOrderDependencies['users'], state?: UserState) {
  const calls: string[] = [];
  const orders = {
    findUser: async () => state,
    place: async () => {
      calls.push('placed');
      return placed;
    },
  } as unknown as PlaceOrderDependencies['orders'];
  return { calls, orders, users };
}

describe('placeOrder', () => {
  it('rejects an order of an unknown user and stores nothing', async () => {
    const { calls, ...rest } = dependencies({ exists: async () => false });
    const placing = createPlaceOrder(rest)(order);
    await assert.rejects(placing, isFailure('unknown-user'));
    assert.deepEqual(calls, []);
  });

  it('stores nothing when user-service is unavailable', async () => {
    const unavailable = new Failure('dependency-unavailable');
    const { calls, ...rest } = dependencies({ exists: () => Promise.reject(unavailable) });
    await assert.rejects(createPlaceOrder(rest)(order), unavailable);
    assert.deepEqual(calls, []);
  });

  it('does not call user-service for a user in the projection', async () => {
    const failingDirectory = { exists: () => Promise.reject(new Error('user-service was called')) };
    const known = dependencies(failingDirectory, 'known');
    await createPlaceOrder(known)(order);
    assert.deepEqual(known.calls, ['placed']);
    const { calls, ...deleted } = dependencies(failingDirectory, 'deleted');
    const placing = createPlaceOrder(deleted)(order);
    await assert.rejects(placing, isFailure('unknown-user'));
    assert.deepEqual(calls, []);
  });

  it('passes the order and the once of the request to the store', async () => {
    const { orders } = dependencies({ exists: async () => true });
    const place = mock.fn(orders.place);
    const once: Once<Order> = (_tx, write) => write();
    const placeOrder = createPlaceOrder({
      orders: { ...orders, place },
      users: { exists: async () => true },
    });
    assert.equal(await placeOrder(order, once), placed);
    assert.deepEqual(
      place.mock.calls.map((call) => call.arguments),
      [[order, once]],
    );
  });
});
