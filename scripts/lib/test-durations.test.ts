import assert from 'node:assert/strict';
import { it } from 'node:test';
import { formatDurations } from './test-durations.ts';

it('lists the files that used the most CPU first', () => {
  const durations = '[9000,10,"a.test.ts"]\n[3000,2500,"b.test.ts"]\n[400,12340,"c.test.ts"]\n';
  assert.equal(
    formatDurations(durations, 2),
    '   12.3 s CPU     0.4 s  c.test.ts\n    2.5 s CPU     3.0 s  b.test.ts',
  );
});
