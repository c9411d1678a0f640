import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isFailure } from '@zerda/chassis/testing/observed';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';
import fc from 'fast-check';
import { firstStatus, moveStatus } from './order-status.ts';

/** Transitions of the specification, repeated independently of the implementation. */
const allowed = new Set([
  'pending > processing',
  'pending > cancelled',
  'processing > shipped',
  'processing > cancelled',
  'shipped > completed',
]);

const isInvalidTransition = isFailure('invalid-transition');

describe('moveStatus', () => {
  for (const from of orderStatuses) {
    for (const to of orderStatuses) {
      const isAllowed = allowed.has(`${from} > ${to}`);
      it(`${isAllowed ? 'allows' : 'rejects'} the transition from ${from} to ${to}`, () => {
        if (isAllowed) assert.equal(moveStatus(from, to), to);
        else assert.throws(() => moveStatus(from, to), isInvalidTransition);
      });
    }
  }

  it('never cancels a shipped order and never leaves a final status, for any sequence of requests', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...orderStatuses), { maxLength: 30 }), (requestedStatuses) => {
        let status: OrderStatus = firstStatus;
        const history = [status];
        for (const requested of requestedStatuses) {
          try {
            status = moveStatus(status, requested);
            history.push(status);
          } catch (error) {
            assert.ok(isInvalidTransition(error));
          }
        }
        for (const [index, next] of history.slice(1).entries()) {
          assert.ok(allowed.has(`${history[index]} > ${next}`), history.join(' > '));
        }
        assert.ok(!(history.includes('shipped') && history.includes('cancelled')), history.join(' > '));
        assert.equal(new Set(history).size, history.length, 'no status occurs twice');
      }),
    );
  });
});
