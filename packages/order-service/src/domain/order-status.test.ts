import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isFailure } from '@zerda/chassis/testing';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/orders';
import fc from 'fast-check';
import { firstStatus, moveStatus } from './order-status.ts';

/** The specification's table, written down a second time. */
const allowed = new Set([
  'pending > processing',
  'pending > cancelled',
  'processing > shipped',
  'processing > cancelled',
  'shipped > completed',
]);

const isRefusal = isFailure('invalid-transition');

describe('moveStatus', () => {
  for (const from of orderStatuses) {
    for (const to of orderStatuses) {
      const may = allowed.has(`${from} > ${to}`);
      it(`${may ? 'lets' : 'does not let'} an order go from ${from} to ${to}`, () => {
        if (may) assert.equal(moveStatus(from, to), to);
        else assert.throws(() => moveStatus(from, to), isRefusal);
      });
    }
  }

  it('never cancels what was shipped, and never leaves an end, whatever is asked in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...orderStatuses), { maxLength: 30 }), (wishes) => {
        let status: OrderStatus = firstStatus;
        const life = [status];
        for (const wish of wishes) {
          try {
            status = moveStatus(status, wish);
            life.push(status);
          } catch (error) {
            assert.ok(isRefusal(error));
          }
        }
        for (const [index, next] of life.slice(1).entries()) {
          assert.ok(allowed.has(`${life[index]} > ${next}`), life.join(' > '));
        }
        assert.ok(!(life.includes('shipped') && life.includes('cancelled')), life.join(' > '));
        assert.equal(new Set(life).size, life.length, 'no status is taken twice');
      }),
    );
  });
});
