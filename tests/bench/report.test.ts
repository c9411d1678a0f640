import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findFaults, formatBody, formatGoals, judgeGoals, type Round, summarise } from './report.ts';

function round(
  proxy: string,
  number: number,
  cpuMicroseconds: number | undefined,
  more: Partial<Round> = {},
): Round {
  return {
    ...{ proxy, body: 'small', round: number, cpuMicroseconds, residentBytes: 64 * 1024 ** 2 },
    ...{ sent: 100, answered: 100, received: 100, milliseconds: 500, p50Ms: 1, p99Ms: 2, errors: {} },
    ...more,
  };
}

const rounds = [
  round('gateway', 0, 999),
  round('nginx', 0, 999),
  // The machine is busy in the second round: both take twice as long.
  round('nginx', 1, 10),
  round('gateway', 1, 35),
  round('gateway', 2, 72),
  round('nginx', 2, 20),
  round('gateway', 3, 35),
  round('nginx', 3, 10),
];

describe('summarise', () => {
  it('divides round by round, so that a slow spell of the machine leaves the ratio alone', () => {
    const [gateway, nginx] = summarise(rounds, 'gateway');
    assert.equal(gateway?.proxy, 'gateway');
    assert.deepEqual(gateway?.cpuMicroseconds, { median: 35, lowest: 35, highest: 72 });
    assert.deepEqual(nginx?.gatewayRatio, { median: 3.5, lowest: 3.5, highest: 3.6 });
    assert.deepEqual(nginx?.requestsPerSecond, { median: 200, lowest: 200, highest: 200 });
  });
});

describe('judgeGoals', () => {
  it('tells for each goal whether the gateway meets it, and nothing about what was not measured', () => {
    const verdicts = judgeGoals(summarise(rounds, 'gateway'), ['small']);
    assert.deepEqual(
      verdicts.map(({ proxy, limit, met }) => [proxy, limit, met]),
      [
        ['@fastify/http-proxy', 1, undefined],
        ['nginx', 4, true],
        ['nginx', 3, false],
        ['Traefik', 0.4, undefined],
      ],
    );
    assert.equal(
      formatGoals(verdicts, ['small']),
      [
        'CPU of the gateway                small',
        '<= 1 x @fastify/http-proxy            -',
        '<= 4 x nginx                   3.50 met',
        '<= 3 x nginx (moonshot)     3.50 missed',
        '<= 0.4 x Traefik                      -',
      ].join('\n'),
    );
  });
});

describe('findFaults', () => {
  it('passes rounds in which every request was answered and came through once', () => {
    assert.deepEqual(findFaults(rounds), []);
  });

  it('names errors, lost answers and requests that the upstream did not get as they were sent', () => {
    const faulty = [
      round('nginx', 1, 10, { answered: 99, received: 101, errors: { 'status 502': 1 } }),
      round('gateway', 0, 10, { sent: 0, answered: 0, received: 0 }),
    ];
    assert.deepEqual(findFaults(faulty), [
      'nginx, small, round 1: 1 x status 502',
      'nginx, small, round 1: 100 requests sent, 99 answered',
      'nginx, small, round 1: 100 requests sent, 101 at the upstream',
      'gateway, small, round 0: no request was sent',
    ]);
  });
});

describe('formatBody', () => {
  it('shows a proxy a row, a dash for what the system does not tell, and why a proxy is missing', () => {
    const rows = summarise([round('gateway', 1, undefined, { residentBytes: undefined })], 'gateway');
    const body = { title: 'small', path: '/', bytes: 1, connections: 8 };
    assert.equal(
      formatBody(body, rows, [{ name: 'Traefik', reason: 'there is none' }]),
      [
        'GET small over 8 connections',
        'proxy            req/s            p50 ms            p99 ms  CPU µs/req  gateway/it  RSS MiB',
        'gateway  200 (200-200)  1.00 (1.00-1.00)  2.00 (2.00-2.00)           -           -        -',
        'Traefik: left out, there is none',
      ].join('\n'),
    );
  });
});
