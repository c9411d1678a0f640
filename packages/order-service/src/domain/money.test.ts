import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { amount } from '@zerda/contracts/protocol/values';
import fc from 'fast-check';
import { toAmount, toCents } from './money.ts';

const cents = fc.integer({ min: 1, max: 999_999_999 });

describe('money', () => {
  it('converts every amount that the contract allows to cents and back', () => {
    fc.assert(
      fc.property(cents, (value) => {
        const text = `${Math.floor(value / 100)}.${String(value % 100).padStart(2, '0')}`;
        const total = amount.parse(Number(text));
        assert.equal(toCents(total), value);
        assert.equal(toAmount(value).toFixed(2), text);
      }),
    );
  });

  it('sums amounts exactly', () => {
    fc.assert(
      fc.property(fc.array(cents, { maxLength: 1000 }), (values) => {
        const sum = values
          .map((value) => toCents(toAmount(value)))
          .reduce((total, value) => total + value, 0);
        assert.equal(
          toCents(toAmount(sum)),
          values.reduce((total, value) => total + value, 0),
        );
      }),
    );
  });
});
