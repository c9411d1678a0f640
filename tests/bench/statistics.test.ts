import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeGrowth, percentile, spread } from './statistics.ts';

describe('spread', () => {
  it('is the middle figure between the lowest and the highest, in whatever order they come', () => {
    assert.deepEqual(spread([10, 9, 100]), { median: 10, lowest: 9, highest: 100 });
  });

  it('takes the middle of the two middle figures when their number is even', () => {
    assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, lowest: 1, highest: 4 });
  });

  it('leaves out what could not be measured', () => {
    assert.deepEqual(spread([undefined, 7]), { median: 7, lowest: 7, highest: 7 });
    assert.equal(spread([undefined]), undefined);
  });
});

describe('percentile', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

  it('is the figure that so many percent do not exceed', () => {
    assert.equal(percentile(hundred, 50), 50);
    assert.equal(percentile(hundred, 99), 99);
    assert.equal(percentile([1, 2, 3], 99), 3);
    assert.equal(percentile([1, 2, 3], 50), 2);
  });

  it('is nothing when nothing was measured', () => {
    assert.equal(percentile([], 50), undefined);
  });
});

describe('judgeGrowth', () => {
  it('lets the first minute fill caches, and a tenth more come after it', () => {
    assert.equal(judgeGrowth([50, 100, 130, 110]).steady, true);
  });

  it('finds memory that goes on growing', () => {
    assert.deepEqual(judgeGrowth([100, 100, 110, 120]), { factor: 1.2, steady: false });
  });
});
