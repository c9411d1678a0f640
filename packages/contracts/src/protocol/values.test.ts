import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { amount, idText, line } from './values.ts';

describe('amount', () => {
  it('accepts every whole number of cents from 0.01 to 9,999,999.99', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999 }), (cents) => {
        assert.equal(amount.safeParse(cents / 100).success, true, `${cents} cents`);
      }),
    );
  });

  it('rejects zero, negative amounts, a third decimal, infinity and text', () => {
    for (const value of [0, -0.01, 0.001, 1.005, 10_000_000, Number.POSITIVE_INFINITY, Number.NaN, '1.00']) {
      assert.equal(amount.safeParse(value).success, false, String(value));
    }
  });
});

describe('idText', () => {
  it('parses a positive integer', () => {
    assert.equal(idText.parse('2147483647'), 2_147_483_647);
  });

  it('rejects other notations, zero and integers beyond 32 bits', () => {
    for (const text of ['0', '-1', '+1', '01', '1.0', '1e3', ' 1', '', 'abc', '2147483648', '99999999999']) {
      assert.equal(idText.safeParse(text).success, false, text);
    }
  });
});

describe('line', () => {
  const schema = line(5);

  it('trims white space and counts code points', () => {
    assert.equal(schema.parse(' Ann '), 'Ann');
    assert.equal(schema.parse('🦊🦊🦊🦊🦊'), '🦊🦊🦊🦊🦊');
  });

  it('rejects empty text, only white space, too many characters, control characters and unpaired surrogates', () => {
    for (const text of ['', '   ', '      ', 'abcdef', 'a\u0000', 'a\nb', '\u0085', 'a\ud800']) {
      assert.equal(schema.safeParse(text).success, false, JSON.stringify(text));
    }
  });

  it('takes linear time on hostile text', () => {
    const long = line(200_000);
    const startedAt = performance.now();
    long.safeParse(`${' '.repeat(100_000)}\u0000`);
    long.safeParse(`${'a'.repeat(100_000)}\u0000`);
    assert.ok(performance.now() - startedAt < 200);
  });
});
