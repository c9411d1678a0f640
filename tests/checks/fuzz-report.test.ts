import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { countReport, findShortcomings } from '../contract/report.ts';

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

const requirements = { minCases: 4, minShare: 0.25 };
const enough: Call[] = [
  { method: 'GET', status: 200 },
  { method: 'GET', status: 404 },
  { method: 'POST', status: 201 },
  { method: 'POST', status: 422 },
];

describe('the report of a fuzz run', () => {
  it('meets the requirements when every operation has enough 2xx responses', async () => {
    const report = await count(enough);
    assert.deepEqual(report.operations[0], {
      operation: 'GET /things',
      cases: 2,
      accepted: 1,
      serverErrors: 0,
    });
    assert.deepEqual(findShortcomings(report, requirements), []);
  });

  it('counts calls with undocumented methods as cases of no operation', async () => {
    const report = await count([...enough, { method: 'TRACE', status: 405 }]);
    assert.equal(report.cases, 5);
    assert.deepEqual(findShortcomings(report, requirements), []);
  });

  it('reports too few cases, too few 2xx responses and 5xx responses', async () => {
    const calls: Call[] = [
      { method: 'POST', status: 500 },
      { method: 'POST' },
      { method: 'POST', status: 201 },
    ];
    assert.deepEqual(findShortcomings(await count(calls), requirements), [
      '3 cases, at least 4 are required',
      'GET /things: 0 of 0 responses are 2xx, at least 25 % are required',
      'POST /things: 2 responses are 5xx',
    ]);
  });

  it('counts a failed call once, whatever the number of failed checks', async () => {
    assert.equal((await count([{ method: 'GET', status: 200, check: 'failure' }])).failed, 1);
  });
});
