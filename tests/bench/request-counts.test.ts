import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareCounts, type GatewayCounts, sumSamples } from './request-counts.ts';

const equalCounts: GatewayCounts = {
  sent: 9,
  responded: 9,
  received: 9,
  logLines: 9,
  measured: 9,
  circuitCalls: 9,
};

describe('compareCounts', () => {
  it('returns no difference when all counts are equal', () => {
    assert.deepEqual(compareCounts(equalCounts), []);
  });

  it('returns every count that is lower or higher than the requests sent', () => {
    assert.deepEqual(compareCounts({ ...equalCounts, logLines: 8 }), ['8 log lines, but 9 requests sent']);
    for (const name of ['responded', 'received', 'logLines', 'measured', 'circuitCalls'] as const) {
      assert.equal(compareCounts({ ...equalCounts, [name]: 10 }).length, 1, name);
    }
  });

  it('reports a run without requests', () => {
    const none = { sent: 0, responded: 0, received: 0, logLines: 0, measured: 0, circuitCalls: 0 };
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

  it('adds the samples that have the labels, including label values with braces', () => {
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/users/{id}' }), 6);
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/users/{id}', method: 'GET' }), 4);
    assert.equal(sumSamples(exposition, 'duration_count', {}), 22);
    assert.equal(sumSamples(exposition, 'up', {}), 1);
  });

  it('returns 0 when no sample has the labels', () => {
    assert.equal(sumSamples(exposition, 'duration_count', { route: '/orders' }), 0);
  });
});
