import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import { isFailure } from '@zerda/chassis/testing';
import type { UserState } from '../store/known-users.ts';
import { createPlaceOrder, type PlaceOrderDependencies } from './place-order.ts';

const order = { user_id: 7, product: 'Desk', quantity: 1, total: 80 };
const answer = () => ({ body: 'answer' });

function dependencies(users: PlaceOrderDependencies['users'], state?: UserState) {
  const calls: string[] = [];
  const orders = {
    findPlaced: async () => undefined,
    findUser: async () => state,
    place: async () => {
      calls.push('placed');
      return { body: 'answer', replayed: false };
    },
  } as unknown as PlaceOrderDependencies['orders'];
  return { calls, orders, users };
}

describe('placeOrder', () => {
  it('stores nothing for a user who does not exist', async () => {
    const { calls, ...rest } = dependencies({ exists: async () => false });
    const placing = createPlaceOrder(rest)({ order, keyed: undefined, answer });
    await assert.rejects(placing, isFailure('unknown-user'));
    assert.deepEqual(calls, []);
  });

  it('stores nothing when it cannot be known whether the user exists', async () => {
    const away = new Failure('dependency-unavailable');
    const { calls, ...rest } = dependencies({ exists: () => Promise.reject(away) });
    await assert.rejects(createPlaceOrder(rest)({ order, keyed: undefined, answer }), away);
    assert.deepEqual(calls, []);
  });

  it('asks nobody for a user of whom events have told', async () => {
    const asked = { exists: () => Promise.reject(new Error('asked')) };
    const known = dependencies(asked, 'known');
    await createPlaceOrder(known)({ order, keyed: undefined, answer });
    assert.deepEqual(known.calls, ['placed']);
    const { calls, ...deleted } = dependencies(asked, 'deleted');
    const placing = createPlaceOrder(deleted)({ order, keyed: undefined, answer });
    await assert.rejects(placing, isFailure('unknown-user'));
    assert.deepEqual(calls, []);
  });

  it('answers a repeat without asking for the user again', async () => {
    const { orders } = dependencies({ exists: async () => true });
    const placed = { body: 'first answer', replayed: true };
    const placeOrder = createPlaceOrder({
      orders: { ...orders, findPlaced: async () => placed as never },
      users: { exists: () => Promise.reject(new Error('asked')) },
    });
    assert.equal(await placeOrder({ order, keyed: undefined, answer }), placed);
  });
});
