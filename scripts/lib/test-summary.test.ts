import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatSummary, readSummary } from './test-summary.ts';

const closing = (pass: number, fail: number) =>
  `# tests ${pass + fail}\n# suites 2\n# pass ${pass}\n# fail ${fail}\n# cancelled 0\n# skipped 0\n# todo 0\n# duration_ms 10.5\n`;

describe('summary of a test run', () => {
  it('is read from the end of the stream, not from the output of a test', () => {
    const summary = readSummary(`TAP version 13\n# tests 99\nok 1 - x\n1..1\n${closing(3, 1)}`);
    assert.deepEqual([summary?.tests, summary?.pass, summary?.fail], [4, 3, 1]);
  });

  it('is undefined when the run stopped early', () => {
    assert.equal(readSummary('TAP version 13\nok 1 - x\n'), undefined);
    assert.equal(readSummary(''), undefined);
  });

  it('adds up over several runs', () => {
    const runs = [closing(3, 1), closing(5, 0)].map((text) => readSummary(text));
    const text = formatSummary(runs.filter((run) => run !== undefined));
    assert.equal(
      text,
      '# tests 9\n# suites 4\n# pass 8\n# fail 1\n# cancelled 0\n# skipped 0\n# todo 0\n# duration_ms 21',
    );
  });
});
