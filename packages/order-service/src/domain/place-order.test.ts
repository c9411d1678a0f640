import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import type { Once } from '@zerda/chassis/idempotency/idempotency';
import { isFailure } from '@zerda/chassis/testing/observed';
import type { Order } from './order.ts';
import { createPlaceOrder, type PlaceOrderDependencies } from './place-order.ts';

const placed = { id: 1 } as Order;
const order = { user_id: 7, product: 'Desk', quantity: 1, total: 80 };

/** Orders of a projection that contains these users. */
function dependencies(users: PlaceOrderDependencies['users'], ...known: readonly number[]) {
  const calls: string[] = [];
  const projection = new Set(known);
  const orders: PlaceOrderDependencies['orders'] = {
    async place({ user_id }) {
      if (!projection.has(user_id)) return undefined;
      calls.push('placed');
      return placed;
    },
    async placeForNewUser({ user_id }) {
      calls.push(`placed for the new user ${user_id}`);
      return placed;
    },
  };
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
    const { calls, ...rest } = dependencies(failingDirectory, order.user_id);
    assert.equal(await createPlaceOrder(rest)(order), placed);
    assert.deepEqual(calls, ['placed']);
  });

  it('stores the order of another existing user with the user', async () => {
    const { calls, ...rest } = dependencies({ exists: async () => true });
    assert.equal(await createPlaceOrder(rest)(order), placed);
    assert.deepEqual(calls, ['placed for the new user 7']);
  });

  it('passes the order and the once of the request to the store', async () => {
    const { orders } = dependencies({ exists: async () => true }, order.user_id);
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
