import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { decodeCursor, encodeCursor, pageQuery } from './page.ts';
import { largestId } from './values.ts';

const query = z.strictObject(pageQuery);

describe('cursor', () => {
  it('decodes to the encoded id for every id', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: largestId }), (id) => {
        assert.equal(query.parse({ cursor: encodeCursor(id) }).cursor, id);
      }),
    );
  });

  it('decodes to at most the largest id', () => {
    assert.equal(decodeCursor('zzzzzz'), largestId);
  });

  it('rejects text that is not a cursor', () => {
    for (const cursor of ['', 'A', '-1', 'zzzzzzz', '1.5', ['1', '2']]) {
      assert.equal(query.safeParse({ cursor }).success, false, String(cursor));
    }
  });
});

describe('limit', () => {
  it('defaults to 100', () => {
    assert.equal(query.parse({}).limit, 100);
    assert.equal(query.parse({ limit: '1' }).limit, 1);
  });

  it('rejects 0, more than 100 and non-integers', () => {
    for (const limit of ['0', '101', '-1', 'ten', '1.5', '']) {
      assert.equal(query.safeParse({ limit }).success, false, limit);
    }
  });
});
