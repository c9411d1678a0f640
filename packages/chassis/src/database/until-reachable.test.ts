import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { recordingLogger, silentLogger } from '../../testing/observed.ts';
import { StartupError } from '../startup-error.ts';
import { DatabaseUnavailableError, untilReachable } from './until-reachable.ts';

const never = new AbortController().signal;

describe('untilReachable', () => {
  it('retries with a warning while the database is unavailable, and returns the result', async () => {
    const { logger, lines } = recordingLogger();
    let attempts = 0;
    const result = await untilReachable(
      async () => {
        attempts += 1;
        if (attempts < 4) throw new DatabaseUnavailableError('the database cannot be reached: refused');
        return 'migrated';
      },
      { logger, signal: never, firstWaitMs: 4, maxWaitMs: 8 },
    );
    assert.equal(result, 'migrated');
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      Array(3).fill('the database cannot be reached: refused; retrying'),
    );
    const bounds = [
      [2, 4],
      [4, 8],
      [4, 8],
    ] as const;
    for (const [index, [min, max]] of bounds.entries()) {
      const waited = Number(lines[index]?.wait_ms);
      assert.ok(waited >= min && waited <= max, `${waited} ms before attempt ${index + 2}`);
    }
  });

  it('does not retry other errors', async () => {
    let attempts = 0;
    const rejected = untilReachable(
      () => {
        attempts += 1;
        return Promise.reject(new StartupError('migration 0001 failed'));
      },
      { logger: silentLogger(), signal: never },
    );
    await assert.rejects(rejected, /migration 0001 failed/);
    assert.equal(attempts, 1);
  });

  it('stops when the signal aborts', async () => {
    const stopping = new AbortController();
    const waiting = untilReachable(() => Promise.reject(new DatabaseUnavailableError('unavailable')), {
      logger: silentLogger(),
      signal: stopping.signal,
      firstWaitMs: 60_000,
      maxWaitMs: 60_000,
    });
    setImmediate(() => stopping.abort());
    await assert.rejects(waiting, { message: 'unavailable' });
  });
});
