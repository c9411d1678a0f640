import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { evaluateGrowth, meanOf, percentile, spread } from './statistics.ts';

describe('spread', () => {
  it('returns median, minimum and maximum of unsorted values', () => {
    assert.deepEqual(spread([10, 9, 100]), { median: 10, lowest: 9, highest: 100 });
  });

  it('returns the mean of the two middle values when their number is even', () => {
    assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, lowest: 1, highest: 4 });
  });

  it('ignores undefined values', () => {
    assert.deepEqual(spread([undefined, 7]), { median: 7, lowest: 7, highest: 7 });
    assert.equal(spread([undefined]), undefined);
  });
});

describe('percentile', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

  it('returns the nearest-rank percentile', () => {
    assert.equal(percentile(hundred, 50), 50);
    assert.equal(percentile(hundred, 99), 99);
    assert.equal(percentile([1, 2, 3], 99), 3);
    assert.equal(percentile([1, 2, 3], 50), 2);
  });

  it('returns undefined for an empty list', () => {
    assert.equal(percentile([], 50), undefined);
  });
});

describe('meanOf', () => {
  it('returns the mean and its standard error', () => {
    // The standard deviation of the sample is the root of (9 + 1 + 1 + 9 + 0) / 4, the error that of 5 / 5.
    assert.deepEqual(meanOf([0, 2, 4, 6, 3]), { mean: 3, error: 1 });
    assert.deepEqual(meanOf([7, 7]), { mean: 7, error: 0 });
  });
});

describe('evaluateGrowth', () => {
  it('ignores the first minute and allows 10 % growth after it', () => {
    assert.equal(evaluateGrowth([50, 100, 130, 110]).steady, true);
  });

  it('reports memory that grows by more than 10 %', () => {
    assert.deepEqual(evaluateGrowth([100, 100, 110, 120]), { factor: 1.2, steady: false });
  });
});
