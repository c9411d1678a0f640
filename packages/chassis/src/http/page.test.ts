import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeCursor } from '@zerda/contracts/protocol/page';
import { cutPage } from './page.ts';

const rows = (...ids: number[]) => ids.map((id) => ({ id }));

describe('cutPage', () => {
  it('goes on after the last row that is shown when one more was read', () => {
    const page = cutPage(rows(3, 5, 8), 2);
    assert.deepEqual(page.rows, rows(3, 5));
    assert.equal(decodeCursor(page.next ?? ''), 5);
  });

  it('ends when no more was read, also on a full page and on none', () => {
    assert.deepEqual(cutPage(rows(3, 5), 2), { rows: rows(3, 5), next: null });
    assert.deepEqual(cutPage([], 2), { rows: [], next: null });
  });
});
