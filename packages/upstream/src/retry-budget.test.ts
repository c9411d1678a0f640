import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createRetryBudget } from './retry-budget.ts';

describe('retry budget', () => {
  it('grants retries for at most a tenth of the calls, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (calls) => {
        const budget = createRetryBudget({ perSecond: 0 });
        let callCount = 0;
        let granted = 0;
        for (const fails of calls) {
          budget.deposit();
          callCount += 1;
          while (fails && budget.withdraw()) granted += 1;
          assert.ok(granted <= callCount / 10, `${granted} retries of ${callCount} calls`);
        }
      }),
    );
  });

  it('grants retries for a full tenth of the calls', () => {
    const budget = createRetryBudget({ perSecond: 0 });
    let granted = 0;
    for (let call = 0; call < 1000; call += 1) {
      budget.deposit();
      if (budget.withdraw()) granted += 1;
    }
    assert.equal(granted, 100);
  });

  it('accumulates no more retries than the maximum', () => {
    const budget = createRetryBudget({ max: 2, perSecond: 0 });
    for (let call = 0; call < 1000; call += 1) budget.deposit();
    assert.deepEqual([budget.withdraw(), budget.withdraw(), budget.withdraw()], [true, true, false]);
  });

  it('grants ten retries per second for any number of calls, the first ones immediately', (context) => {
    let now = 1_000_000;
    context.mock.method(performance, 'now', () => now);
    const budget = createRetryBudget();
    const granted = (): number => {
      let count = 0;
      while (budget.withdraw()) count += 1;
      return count;
    };
    assert.equal(granted(), 10);
    now += 99;
    assert.equal(granted(), 0);
    now += 101;
    assert.equal(granted(), 2);
    now += 60_000;
    assert.equal(granted(), 10, 'at most the retries of one second accumulate');
  });
});
