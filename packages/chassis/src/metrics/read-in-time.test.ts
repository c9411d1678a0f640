import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readInTime } from './read-in-time.ts';

it('returns the value, and undefined if it fails or takes too long', async () => {
  assert.equal(await readInTime(async () => 1), 1);
  assert.equal(await readInTime(() => Promise.reject(new Error('unavailable'))), undefined);
  const startedAt = performance.now();
  assert.equal(await readInTime(() => new Promise(() => undefined)), undefined);
  assert.ok(performance.now() - startedAt < 5000);
});
