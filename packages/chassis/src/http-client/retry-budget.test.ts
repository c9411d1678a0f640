import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createRetryBudget } from './retry-budget.ts';

describe('retry budget', () => {
  it('never grants more retries than a tenth of the calls, in any order of them', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (calls) => {
        const budget = createRetryBudget({ perSecond: 0 });
        let made = 0;
        let granted = 0;
        for (const fails of calls) {
          budget.deposit();
          made += 1;
          while (fails && budget.withdraw()) granted += 1;
          assert.ok(granted <= made / 10, `${granted} retries of ${made} calls`);
        }
      }),
    );
  });

  it('grants the whole tenth when it is asked for', () => {
    const budget = createRetryBudget({ perSecond: 0 });
    let granted = 0;
    for (let call = 0; call < 1000; call += 1) {
      budget.deposit();
      if (budget.withdraw()) granted += 1;
    }
    assert.equal(granted, 100);
  });

  it('saves up no more than it may', () => {
    const budget = createRetryBudget({ most: 2, perSecond: 0 });
    for (let call = 0; call < 1000; call += 1) budget.deposit();
    assert.deepEqual([budget.withdraw(), budget.withdraw(), budget.withdraw()], [true, true, false]);
  });

  it('grants ten retries a second however few calls there are, the first ones at once', (context) => {
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
    assert.equal(granted(), 10, 'no more than those of a second are saved up');
  });
});
