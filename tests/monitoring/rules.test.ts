import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { rulesFile } from '../../scripts/lib/chart.ts';
import { root } from '../../scripts/lib/services.ts';
import { rules } from './lib/expressions.ts';
import { describeWithPromtool, runPromtool } from './lib/promtool.ts';

/** Changes of a series: the minutes of a segment, and the increase in each of them. The value of a gauge does not change. */
type Segments = readonly (readonly [minutes: number, perMinute: number])[];

/** An input series: name, labels besides namespace, and segments. */
interface Series {
  readonly name: string;
  readonly labels: string;
  readonly counter?: Segments;
  readonly gauge?: Segments;
}

/** Minutes in which a condition holds, after as many without and before as many without. */
const phase = 30;
const total = 3 * phase;

/** A gauge with the values before, during and after the condition. */
function gauge(name: string, labels: string, usual: number, bad: number): Series {
  return {
    name,
    labels,
    gauge: [
      [phase, usual],
      [phase, bad],
      [phase, usual],
    ],
  };
}

/** A counter with the increases a minute before, during and after the condition. */
function counter(name: string, labels: string, usual: number, bad: number): Series {
  return {
    name,
    labels,
    counter: [
      [phase, usual],
      [phase, bad],
      [phase, usual],
    ],
  };
}

const orders = 'job="order-service",pod="orders-1"';
const users = 'job="user-service",pod="users-1"';
const gateway = 'job="gateway",pod="gateway-1"';

/** Series for each alert on a state: with them, it fires after a while and resolves. */
const states: Readonly<Record<string, readonly Series[]>> = {
  ZerdaServiceDown: [gauge('up', gateway, 1, 0), gauge('up', users, 1, 1), gauge('up', orders, 1, 1)],
  ZerdaCircuitOpen: [
    gauge('circuit_breaker_state', `${gateway},circuit="order-service"`, 0, 2),
    counter('circuit_breaker_events_total', `${gateway},circuit="order-service",event="reject"`, 0, 60),
  ],
  ZerdaUpstreamWithoutAddress: [
    gauge('upstream_addresses', `${gateway},upstream="order-service",state="available"`, 2, 0),
    counter(
      'http_client_request_duration_seconds_count',
      `${gateway},upstream="order-service",outcome="unreachable"`,
      60,
      60,
    ),
  ],
  ZerdaOutboxDelayed: [gauge('outbox_oldest_seconds', users, 1, 300)],
  ZerdaDeadLetters: [gauge('dead_letters', `${orders},side="receiving"`, 0, 2)],
  ZerdaPoolExhausted: [gauge('pool_connections', `${orders},pool="database",state="waiting"`, 0, 4)],
  ZerdaEventLoopLate: [gauge('nodejs_eventloop_lag_p99_seconds', gateway, 0.011, 0.5)],
  ZerdaMemoryNearLimit: [
    gauge('process_resident_memory_bytes', gateway, 100_000_000, 250_000_000),
    gauge('process_memory_limit_bytes', gateway, 268_435_456, 268_435_456),
  ],
  ZerdaJwksStale: [
    gauge('jwks_age_seconds', gateway, 100, 2000),
    counter('jwks_fetches_total', `${gateway},outcome="failed"`, 0, 2),
  ],
  ZerdaSigningKeyOld: [gauge('signing_key_age_seconds', users, 86_400, 8_000_000)],
  ZerdaLoginFlood: [counter('logins_total', `${users},outcome="failed"`, 6, 120)],
  ZerdaValkeyUnavailable: [gauge('rate_limits_shared', gateway, 1, 0)],
  ZerdaSpansDropped: [
    counter('trace_spans_dropped_total', `${gateway},reason="queue_full"`, 0, 0),
    counter('trace_spans_dropped_total', `${gateway},reason="export_failed"`, 1, 20),
    counter('trace_spans_exported_total', gateway, 1000, 1000),
  ],
  // The start of the process, which changes every five minutes.
  ZerdaRestarts: [
    {
      name: 'process_start_time_seconds',
      labels: orders,
      gauge: [
        [phase, 100],
        [5, 2000],
        [5, 2300],
        [5, 2600],
        [15, 2900],
        [phase + 5, 2900],
      ],
    },
  ],
  // The time of the last cycle, which is that of the sample except while the relay is stuck.
  ZerdaRelayStuck: [
    {
      name: 'relay_last_cycle_timestamp_seconds',
      labels: users,
      counter: [
        [phase, 60],
        [phase, 0],
        [1, phase * 60],
        [phase, 60],
      ],
    },
  ],
};

/** Days of requests without errors before the tests of the objectives. */
const cleanMinutes = 3 * 24 * 60;

/**
 * Cases of the objectives: the part of bad requests and its minutes, and the long windows that fire at their end. The periods differ so
 * that only some windows exceed their limits.
 */
const burns = [
  { bad: 0.02, minutes: 60, fires: ['1h'] },
  { bad: 0.008, minutes: 360, fires: ['6h'] },
  { bad: 0.005, minutes: 1440, fires: ['1d', '3d'] },
  { bad: 0.0015, minutes: 4320, fires: ['3d'] },
  { bad: 0.0009, minutes: 1440, fires: [] },
] as const;

/** The latency objective allows ten times as many bad requests as that of availability. */
const objectives = {
  ZerdaAvailabilityBudgetBurn: { factor: 1, series: errorSeries, cases: burns },
  // The windows are those of availability, so the first and the last case suffice.
  ZerdaLatencyBudgetBurn: { factor: 10, series: slowSeries, cases: [burns[0], burns[4]] },
} as const;

const perMinute = 10_000;
const requestLabels = `${gateway},http_request_method="GET",http_route="/api/orders",http_response_status_code`;

function errorSeries(part: number, minutes: number): Series[] {
  const bad = perMinute * part;
  const counterOf = (status: string, usual: number, during: number): Series => ({
    name: 'http_server_request_duration_seconds_count',
    labels: `${requestLabels}="${status}"`,
    counter: [
      [cleanMinutes, usual],
      [minutes, during],
      [40, usual],
    ],
  });
  return [counterOf('200', perMinute, perMinute - bad), counterOf('503', 0, bad)];
}

function slowSeries(part: number, minutes: number): Series[] {
  const bad = perMinute * part;
  const labels = `${requestLabels}="200"`;
  return [
    {
      name: 'http_server_request_duration_seconds_count',
      labels,
      counter: [
        [cleanMinutes, perMinute],
        [minutes, perMinute],
        [40, perMinute],
      ],
    },
    {
      name: 'http_server_request_duration_seconds_bucket',
      labels: `${labels},le="0.5"`,
      counter: [
        [cleanMinutes, perMinute],
        [minutes, perMinute - bad],
        [40, perMinute],
      ],
    },
  ];
}

describeWithPromtool('rules', (promtool) => {
  it('are valid', async () => {
    await runPromtool(promtool, ['check', 'rules'], fileOf(rules));
  });

  it('fire for each state and resolve after it', async () => {
    const alerts = new Set(rules.flatMap(({ alert }) => alert ?? []));
    assert.deepEqual([...Object.keys(states), ...Object.keys(objectives)].sort(), [...alerts].sort());
    await runTests(
      Object.entries(states).map(([alert, series]) => ({
        name: alert,
        series,
        checks: [
          { minute: phase - 5, firing: alert, values: [] },
          // An alert fires 5 minutes after its condition holds, and rates need a window of 5 minutes.
          { minute: phase + 2, firing: alert, values: [] },
          { minute: phase + 20, firing: alert, values: [1] },
          { minute: total, firing: alert, values: [] },
        ],
      })),
    );
  });

  for (const [alert, { factor, series, cases }] of Object.entries(objectives)) {
    it(`of ${alert} fire in the windows whose limits are exceeded`, async () => {
      await runTests(
        cases.map(({ bad, minutes, fires }) => ({
          name: `${bad * factor * 100} % for ${minutes} minutes`,
          series: series(bad * factor, minutes),
          checks: [
            { minute: cleanMinutes - 20, firing: alert, values: [] },
            { minute: cleanMinutes + minutes, firing: alert, windows: fires },
            // The short windows of the pages end soon after the errors.
            {
              minute: cleanMinutes + minutes + 40,
              firing: alert,
              windows: fires.filter((window) => window !== '1h' && window !== '6h'),
            },
          ],
        })),
        // Days at one evaluation a minute would take minutes.
        '20m',
      );
    });
  }

  it('of the objectives do not fire without requests', async () => {
    await runTests([
      {
        name: 'no requests',
        series: errorSeries(0, 0).map((series) => ({ ...series, counter: [[60, 0]] })),
        checks: Object.keys(objectives).map((alert) => ({ minute: 50, firing: alert, values: [] })),
      },
    ]);
  });

  interface Case {
    readonly name: string;
    readonly series: readonly Series[];
    /** At a minute, the number of firing alerts, or the long windows of those that fire. */
    readonly checks: readonly {
      readonly minute: number;
      readonly firing: string;
      readonly values?: readonly number[];
      readonly windows?: readonly string[];
    }[];
  }

  function runTests(cases: readonly Case[], evaluation = '1m'): Promise<string> {
    return runPromtool(promtool, ['test', 'rules'], {
      rule_files: [join(root, rulesFile)],
      evaluation_interval: evaluation,
      tests: cases.map(({ name, series, checks }) => ({
        name,
        interval: '1m',
        input_series: series.map(({ name: metric, labels, counter: increases, gauge: values }) => ({
          series: `${metric}{namespace="zerda",${labels}}`,
          values: increases === undefined ? gaugeNotation(values ?? []) : counterNotation(increases),
        })),
        promql_expr_test: checks.map(({ minute, firing, values = [], windows }) => ({
          eval_time: `${minute}m`,
          ...(windows === undefined
            ? {
                expr: `count(ALERTS{alertname="${firing}",alertstate="firing"})`,
                exp_samples: values.map((value) => ({ labels: '{}', value })),
              }
            : {
                expr: `count by (long_window) (ALERTS{alertname="${firing}",alertstate="firing"})`,
                exp_samples: windows.map((window) => ({ labels: `{long_window="${window}"}`, value: 1 })),
              }),
        })),
      })),
    });
  }
});

/** Returns values in promtool's notation: `a+bxn` is a, a+b, …, a+n*b. */
function counterNotation(segments: Segments): string {
  let value = 0;
  return segments
    .filter(([minutes]) => minutes > 0)
    .map(([minutes, increase]) => {
      const text = `${value}+${increase}x${minutes - 1}`;
      value += increase * minutes;
      return text;
    })
    .join(' ');
}

function gaugeNotation(segments: Segments): string {
  return segments.map(([minutes, value]) => `${value}+0x${minutes - 1}`).join(' ');
}

function fileOf(list: typeof rules): unknown {
  return { groups: [{ name: 'zerda', rules: list }] };
}
