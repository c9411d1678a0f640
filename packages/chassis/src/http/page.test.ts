import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeCursor } from '@zerda/contracts/protocol/page';
import { cutPage } from './page.ts';

const rows = (...ids: number[]) => ids.map((id) => ({ id }));

describe('cutPage', () => {
  it('returns the cursor of the last row if the query returned one more row', () => {
    const page = cutPage(rows(3, 5, 8), 2);
    assert.deepEqual(page.rows, rows(3, 5));
    assert.equal(decodeCursor(page.next ?? ''), 5);
  });

  it('returns no cursor for the last page, full or empty', () => {
    assert.deepEqual(cutPage(rows(3, 5), 2), { rows: rows(3, 5), next: null });
    assert.deepEqual(cutPage([], 2), { rows: [], next: null });
  });
});
