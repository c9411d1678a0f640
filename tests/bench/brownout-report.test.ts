import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Cell,
  findCellFaults,
  formatBrownout,
  readCircuitChange,
  replaceMarked,
  summarizeCell,
  summarizeCircuit,
} from './brownout-report.ts';

const cell: Cell = {
  delayMs: 1100,
  failPercent: 10,
  milliseconds: 2000,
  sent: 6,
  received: 3,
  errors: {},
  responses: [
    { status: 504, ms: 1001 },
    { status: 503, ms: 2 },
    { status: 200, ms: 900 },
    { status: 503, ms: 1 },
    { status: 500, ms: 950 },
    { status: 503, ms: 3 },
  ],
  circuit: { state: 'half-open', openShare: 0.75 },
};

function line(time: string, circuit: string, msg: string): string {
  return JSON.stringify({ level: 'info', time: `2026-01-01T00:00:${time}Z`, circuit, msg });
}

describe('summarizeCircuit', () => {
  const log = [
    line('01.000', 'users', 'circuit opened'),
    line('01.500', 'orders', 'circuit closed'),
    line('02.000', 'users', 'circuit half-open'),
    JSON.stringify({ msg: 'request', route: '/', status: 503 }),
    line('02.250', 'users', 'circuit closed'),
    line('04.000', 'users', 'circuit opened'),
  ];
  const changes = log.flatMap((entry) => readCircuitChange(entry, 'users') ?? []);
  const during = (from: string, to: string) =>
    summarizeCircuit(changes, Date.parse(`2026-01-01T00:00:${from}Z`), Date.parse(`2026-01-01T00:00:${to}Z`));

  it('counts half-open as not closed', () => {
    assert.deepEqual(during('00.000', '05.000'), { state: 'open', openShare: 0.45 });
    assert.deepEqual(during('00.500', '02.000'), { state: 'half-open', openShare: 2 / 3 });
  });

  it('starts with the state before the span and ignores changes after it', () => {
    assert.deepEqual(during('01.250', '03.250'), { state: 'closed', openShare: 0.5 });
    assert.deepEqual(during('00.000', '01.000'), { state: 'open', openShare: 0 });
    assert.deepEqual(during('04.500', '05.000'), { state: 'open', openShare: 1 });
    assert.deepEqual(during('00.000', '00.500'), { state: 'closed', openShare: 0 });
  });
});

describe('summarizeCell', () => {
  it('returns responses per second by kind and a separate p99 of rejections', () => {
    assert.deepEqual(summarizeCell(cell), {
      delayMs: 1100,
      failPercent: 10,
      responded: 0.5,
      failed: 0.5,
      rejected: 1.5,
      timedOut: 0.5,
      received: 1.5,
      p50Ms: 3,
      p99Ms: 1001,
      rejectedP99Ms: 3,
      state: 'half-open',
      openShare: 0.75,
    });
  });
});

describe('findCellFaults', () => {
  it('accepts a cell in which every request got an expected response', () => {
    assert.deepEqual(findCellFaults(cell), []);
  });

  it('reports failed requests, unexpected statuses and surplus requests at the upstream', () => {
    const faulty = { ...cell, received: 7, errors: { ECONNRESET: 2 }, responses: [{ status: 404, ms: 1 }] };
    assert.deepEqual(findCellFaults(faulty), [
      '1100 ms, 10 %: 2 x ECONNRESET',
      '1100 ms, 10 %: status 404',
      '1100 ms, 10 %: 6 requests sent, 7 received by the upstream',
    ]);
    assert.deepEqual(findCellFaults({ ...cell, responses: [] }), ['1100 ms, 10 %: no response']);
  });
});

describe('formatBrownout', () => {
  it('formats one row per cell, with a dash if nothing was rejected', () => {
    const calm = {
      ...cell,
      responses: [{ status: 200, ms: 1.26 }],
      circuit: { state: 'closed', openShare: 0 },
    } as const;
    const lines = formatBrownout([cell, calm].map(summarizeCell)).split('\n');
    assert.deepEqual(lines.slice(2), [
      '| 1100 | 10 | 1 | 1 | 2 | 1 | 3.0 | 1001 | 3.0 | half-open | 75 | 2 |',
      '| 1100 | 10 | 1 | 0 | 0 | 0 | 1.3 | 1.3 | - | closed | 0 | 2 |',
    ]);
  });
});

describe('replaceMarked', () => {
  it('replaces only the text between the markers and can be repeated', () => {
    const page = 'before\n<!-- Made by `npm run brownout`: from here --><!-- to here -->\nafter\n';
    const once = replaceMarked(page, 'first');
    assert.match(once, /^before\n<!-- .* -->\n\nfirst\n\n<!-- to here -->\nafter\n$/);
    assert.equal(replaceMarked(replaceMarked(page, 'second'), 'first'), once);
    assert.throws(() => replaceMarked('a page without marks', 'first'), /lacks/);
  });
});
