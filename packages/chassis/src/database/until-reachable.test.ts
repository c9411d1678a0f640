import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartupError } from '../startup-error.ts';
import { recordingLogger, silentLogger } from '../testing.ts';
import { DatabaseAwayError, untilReachable } from './until-reachable.ts';

const never = new AbortController().signal;

describe('untilReachable', () => {
  it('repeats while the database is away, tells so each time, and returns what the first success did', async () => {
    const { logger, lines } = recordingLogger();
    let attempts = 0;
    const result = await untilReachable(
      async () => {
        attempts += 1;
        if (attempts < 4) throw new DatabaseAwayError('the database cannot be reached: refused');
        return 'migrated';
      },
      { logger, signal: never, firstWaitMs: 4, longestWaitMs: 8 },
    );
    assert.equal(result, 'migrated');
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      Array(3).fill('the database cannot be reached: refused; trying again'),
    );
    const bounds = [
      [2, 4],
      [4, 8],
      [4, 8],
    ] as const;
    for (const [index, [least, most]] of bounds.entries()) {
      const waited = Number(lines[index]?.wait_ms);
      assert.ok(waited >= least && waited <= most, `${waited} ms before attempt ${index + 2}`);
    }
  });

  it('does not repeat what another attempt would not mend', async () => {
    let attempts = 0;
    const refused = untilReachable(
      () => {
        attempts += 1;
        return Promise.reject(new StartupError('migration 0001 failed'));
      },
      { logger: silentLogger(), signal: never },
    );
    await assert.rejects(refused, /migration 0001 failed/);
    assert.equal(attempts, 1);
  });

  it('ends its waiting when the process is asked to end', async () => {
    const stopping = new AbortController();
    const waiting = untilReachable(() => Promise.reject(new DatabaseAwayError('away')), {
      logger: silentLogger(),
      signal: stopping.signal,
      firstWaitMs: 60_000,
      longestWaitMs: 60_000,
    });
    setImmediate(() => stopping.abort());
    await assert.rejects(waiting, { message: 'away' });
  });
});
