import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareCounts, type GatewayCounts, sumSamples } from './honesty.ts';

const honest: GatewayCounts = { sent: 9, answered: 9, received: 9, logLines: 9, measured: 9, judged: 9 };

describe('compareCounts', () => {
  it('finds nothing when everybody counted the same', () => {
    assert.deepEqual(compareCounts(honest), []);
  });

  it('finds every count that differs, be it more or less', () => {
    assert.deepEqual(compareCounts({ ...honest, logLines: 8 }), ['8 log lines, but 9 requests sent']);
    for (const name of ['answered', 'received', 'logLines', 'measured', 'judged'] as const) {
      assert.equal(compareCounts({ ...honest, [name]: 10 }).length, 1, name);
    }
  });

  it('does not take a run without any request for an honest one', () => {
    const none = { sent: 0, answered: 0, received: 0, logLines: 0, measured: 0, judged: 0 };
    assert.deepEqual(compareCounts(none), ['no request was sent']);
  });
});

describe('sumSamples', () => {
  const exposition = `# HELP duration_count not a sample
duration_count{method="GET",route="/users/{id}",status="200"} 4
duration_count{method="HEAD",route="/users/{id}",status="200"} 2
duration_count{method="GET",route="/users",status="200"} 16
duration_count_total{route="/users/{id}"} 32
up 1
`;

  it('adds what has the labels, also when a value has braces in it', () => {
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/users/{id}' }), 6);
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/users/{id}', method: 'GET' }), 4);
    assert.equal(sumSamples(exposition, 'duration_count', {}), 22);
    assert.equal(sumSamples(exposition, 'up', {}), 1);
  });

  it('is zero for what is not there', () => {
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/orders' }), 0);
  });
});
