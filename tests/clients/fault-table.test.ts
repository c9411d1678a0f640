import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SteadyOutcome } from '../bench/steady-load.ts';
import { describeFailures, failedAtOnce, formatFaults } from './fault-table.ts';

function outcome(sentAt: number, endedAt: number, status?: number): SteadyOutcome {
  const error = status === undefined ? 'ECONNRESET' : undefined;
  return { sentAt, endedAt, ms: endedAt - sentAt, status, error, retryAfter: undefined, text: 'why' };
}

describe('the table of faults', () => {
  it('has a row for each fault with the numbers of requests and failures', () => {
    const failed = [outcome(100, 150, 502)];
    const outcomes = [outcome(0, 10, 200), outcome(50, 70, 201), ...failed];
    assert.equal(
      formatFaults([{ title: 'a fault', from: 0, to: 4000, outcomes, failed }]),
      [
        '| fault | seconds | requests | failed | p99 ms |',
        '| --- | ---: | ---: | ---: | ---: |',
        '| a fault | 4 | 3 | 1 | 50 |',
      ].join('\n'),
    );
  });

  it('lists failures by kind with their number and times', () => {
    const failed = [outcome(1500, 1600, 502), outcome(1600, 1700), outcome(1700, 1800, 502)];
    assert.equal(
      describeFailures({ title: 'a fault', from: 1000, to: 2000, outcomes: failed, failed }),
      [
        'a fault: 3 requests failed',
        '2 x 502, sent after 0.50 to 0.70 s, ended after 0.60 to 0.80 s: why',
        '1 x ECONNRESET, sent after 0.60 to 0.60 s, ended after 0.70 to 0.70 s: why',
      ].join('\n  '),
    );
  });
});

describe('failedAtOnce', () => {
  it('is true without failures, and for requests that were in flight at the same time', () => {
    assert.equal(failedAtOnce([], 100), true);
    assert.equal(failedAtOnce([outcome(0, 500, 502), outcome(490, 510), outcome(600, 610)], 100), true);
  });

  it('is false when a request was sent later than the tolerance after another one had failed', () => {
    assert.equal(failedAtOnce([outcome(0, 500, 502), outcome(601, 610, 502)], 100), false);
  });
});
