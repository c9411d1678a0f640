import assert from 'node:assert/strict';
import { it } from 'node:test';
import { recordingLogger } from '../../testing/observed.ts';
import { createRepeatedWarning } from './repeated-warning.ts';

it('logs one line per minute with the number of warnings since the last line', () => {
  const { logger, lines } = recordingLogger();
  let now = 0;
  const warn = createRepeatedWarning(logger, 'invalid call rejected', () => now);
  for (let second = 0; second <= 120; second += 1) {
    now = second * 1000;
    warn({ reason: 'unsigned' });
  }
  assert.deepEqual(
    lines.map(({ msg, reason, count }) => [msg, reason, count]),
    [1, 60, 60].map((count) => ['invalid call rejected', 'unsigned', count]),
  );
});
