import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { evaluateGoals, findFaults, formatBody, formatGoals, type Round, summarizeRounds } from './report.ts';

function round(
  proxy: string,
  number: number,
  cpuMicroseconds: number | undefined,
  more: Partial<Round> = {},
): Round {
  return {
    proxy,
    body: 'small',
    round: number,
    cpuMicroseconds,
    residentBytes: 64 * 1024 ** 2,
    sent: 100,
    responded: 100,
    received: 100,
    milliseconds: 500,
    p50Ms: 1,
    p99Ms: 2,
    errors: {},
    ...more,
  };
}

const rounds = [
  round('gateway', 0, 999),
  round('nginx', 0, 999),
  // The machine is busy in round 2: both proxies take twice as long.
  round('nginx', 1, 10),
  round('gateway', 1, 35),
  round('gateway', 2, 72),
  round('nginx', 2, 20),
  round('gateway', 3, 35),
  round('nginx', 3, 10),
];

describe('summarizeRounds', () => {
  it('divides CPU round by round, so that a slow round does not change the ratio', () => {
    const [gateway, nginx] = summarizeRounds(rounds, 'gateway');
    assert.equal(gateway?.proxy, 'gateway');
    assert.deepEqual(gateway?.cpuMicroseconds, { median: 35, lowest: 35, highest: 72 });
    assert.deepEqual(nginx?.gatewayRatio, { median: 3.5, lowest: 3.5, highest: 3.6 });
    assert.deepEqual(nginx?.requestsPerSecond, { median: 200, lowest: 200, highest: 200 });
  });
});

describe('evaluateGoals', () => {
  it('returns whether each goal is met, and undefined for proxies that were not measured', () => {
    const goalResults = evaluateGoals(summarizeRounds(rounds, 'gateway'), ['small']);
    assert.deepEqual(
      goalResults.map(({ proxy, limit, met }) => [proxy, limit, met]),
      [
        ['@fastify/http-proxy', 1, undefined],
        ['nginx', 4, true],
        ['nginx', 3, false],
        ['Traefik', 0.4, undefined],
      ],
    );
    assert.equal(
      formatGoals(goalResults, ['small']),
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
  it('accepts rounds in which the upstream received every request once and all got responses', () => {
    assert.deepEqual(findFaults(rounds), []);
  });

  it('reports errors, lost responses, and lost or duplicated requests', () => {
    const faulty = [
      round('nginx', 1, 10, { responded: 99, received: 101, errors: { 'status 502': 1 } }),
      round('gateway', 0, 10, { sent: 0, responded: 0, received: 0 }),
    ];
    assert.deepEqual(findFaults(faulty), [
      'nginx, small, round 1: 1 x status 502',
      'nginx, small, round 1: 100 requests sent, 99 correct responses',
      'nginx, small, round 1: 100 requests sent, 101 received by the upstream',
      'gateway, small, round 0: no request was sent',
    ]);
  });
});

describe('formatBody', () => {
  it('formats a row per proxy, a dash for unknown values, and the reason for a skipped proxy', () => {
    const rows = summarizeRounds([round('gateway', 1, undefined, { residentBytes: undefined })], 'gateway');
    const body = { title: 'small', path: '/', bytes: 1, connections: 8 };
    assert.equal(
      formatBody(body, rows, [{ name: 'Traefik', reason: 'not installed' }]),
      [
        'GET small over 8 connections',
        'proxy            req/s            p50 ms            p99 ms  CPU µs/req  gateway/proxy  RSS MiB',
        'gateway  200 (200-200)  1.00 (1.00-1.00)  2.00 (2.00-2.00)           -              -        -',
        'Traefik: skipped, not installed',
      ].join('\n'),
    );
  });
});
