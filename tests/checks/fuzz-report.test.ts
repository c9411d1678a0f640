import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { countReport, shortcomings } from '../contract/report.ts';

const document = { paths: { '/things': { get: {}, post: {} } } };

interface Call {
  readonly method: string;
  readonly status?: number;
  readonly check?: 'success' | 'failure';
}

async function count(calls: readonly Call[]) {
  async function* lines() {
    yield JSON.stringify({ Initialize: { seed: 1 } });
    for (const [index, { method, status, check = 'success' }] of calls.entries()) {
      const recorder = {
        cases: { [index]: { value: { method, path: '/things' } } },
        checks: { [index]: [{ status: 'success' }, { status: check }] },
        interactions: { [index]: status === undefined ? {} : { response: { status_code: status } } },
      };
      yield JSON.stringify({ ScenarioFinished: { recorder } });
    }
  }
  return countReport(lines(), document);
}

const requirements = { leastCases: 4, leastShare: 0.25 };
const enough: Call[] = [
  { method: 'GET', status: 200 },
  { method: 'GET', status: 404 },
  { method: 'POST', status: 201 },
  { method: 'POST', status: 422 },
];

describe('the report of a fuzz run', () => {
  it('lacks nothing when every operation was reached often enough', async () => {
    const report = await count(enough);
    assert.deepEqual(report.operations[0], { operation: 'GET /things', cases: 2, accepted: 1, broken: 0 });
    assert.deepEqual(shortcomings(report, requirements), []);
  });

  it('counts methods that no operation has as cases, not against an operation', async () => {
    const report = await count([...enough, { method: 'TRACE', status: 405 }]);
    assert.equal(report.cases, 5);
    assert.deepEqual(shortcomings(report, requirements), []);
  });

  it('lacks cases, successes and freedom from 5xx where they are missing', async () => {
    const calls: Call[] = [
      { method: 'POST', status: 500 },
      { method: 'POST' },
      { method: 'POST', status: 201 },
    ];
    assert.deepEqual(shortcomings(await count(calls), requirements), [
      '3 cases are fewer than 4',
      'GET /things: 0 of 0 answers are 2xx, fewer than 25 %',
      'POST /things: 2 answers are 5xx',
    ]);
  });

  it('counts a call once however many checks fail', async () => {
    assert.equal((await count([{ method: 'GET', status: 200, check: 'failure' }])).failed, 1);
  });
});
