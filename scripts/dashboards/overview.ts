import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { services } from '../lib/services.ts';
import { dashboard } from './dashboard.ts';
import { graph, stat, table } from './panels.ts';
import { quantile, rate, release, share } from './promql.ts';

const requests = 'http_server_request_duration_seconds';
const calls = 'http_client_request_duration_seconds';
const errors = `${release},http_response_status_code=~"5.."`;
/** Outcomes of calls that show that the upstream does not work. */
const failedCalls = `${release},outcome=~"error|timeout|unreachable|overloaded|circuit_open"`;

/** Pattern of the names of all services. */
const jobs = services
  .map(({ name }) => name)
  .sort()
  .join('|');

const objectives = ['availability', 'latency'] as const;

/** Colors of the remaining error budget. */
const budgetSteps = [
  { from: Number.NEGATIVE_INFINITY, color: 'red' },
  { from: 0, color: 'orange' },
  { from: 0.25, color: 'green' },
] as const;

export function overviewDashboard(): Dashboard {
  return dashboard({
    uid: 'zerda-overview',
    title: 'System overview',
    description: 'Service level objectives, traffic of each service, and calls between services.',
    rows: [
      {
        title: 'Service level objectives of the gateway',
        panels: [
          ...objectives.flatMap((slo) => [
            stat({
              title: `${capitalize(slo)} objective`,
              description: `Requests that meet the objective for ${slo}. The chart value monitoring.slo sets it.`,
              unit: 'percentunit',
              expression: `max(job:slo_objective:ratio{${release},slo="${slo}"})`,
              span: 3,
            }),
            stat({
              title: `${capitalize(slo)} error budget left`,
              description:
                'Part of the error budget of the period (monitoring.slo.period) that is not used. Below 0 the objective is missed.',
              unit: 'percentunit',
              expression: `max(job:slo_error_budget_remaining:ratio{${release},slo="${slo}"})`,
              runbook: `${slo}-budget-burn`,
              steps: budgetSteps,
              span: 3,
            }),
          ]),
          graph({
            title: 'Burn rate',
            description:
              'How many times faster than allowed the error budget is used, by window. 1 uses it up exactly at the end of the period. Alerts fire above 14.4 in an hour, 6 in six hours, 3 in a day and 1 in three days.',
            unit: 'none',
            runbook: 'availability-budget-burn',
            span: 12,
            queries: [[`max by (slo, window) (job:slo_burn_rate:ratio{${release}})`, '{{slo}} {{window}}']],
          }),
          table({
            title: 'Firing alerts',
            description: 'Alerts of this release that fire now. docs/runbooks has one page for each.',
            unit: 'none',
            span: 24,
            keys: ['alertname', 'severity', 'job', 'upstream', 'circuit', 'pod'],
            columns: [
              {
                name: 'Firing',
                unit: 'none',
                expression: `max by (alertname, severity, job, upstream, circuit, pod) (ALERTS{${release},alertname=~"Zerda.+",alertstate="firing"})`,
              },
            ],
          }),
        ],
      },
      {
        title: 'Traffic',
        panels: [
          graph({
            title: 'Requests',
            description: 'Requests a second by service.',
            unit: 'reqps',
            queries: [[rate('job', `${requests}_count`, release), '{{job}}']],
          }),
          graph({
            title: 'Server errors',
            description: 'Part of the requests with a status of 500 or above, by service.',
            unit: 'percentunit',
            runbook: 'availability-budget-burn',
            queries: [
              [
                share(rate('job', `${requests}_count`, errors), rate('job', `${requests}_count`, release)),
                '{{job}}',
              ],
            ],
          }),
          graph({
            title: 'Response time, 99th percentile',
            description: 'Time from the request head to the end of the response, by service.',
            unit: 's',
            runbook: 'latency-budget-burn',
            queries: [[quantile(0.99, 'job', requests, release), '{{job}}']],
          }),
        ],
      },
      {
        title: 'Topology',
        panels: [
          table({
            title: 'Calls between services',
            description:
              'Calls of each service to each upstream in the last minutes. Circuit: 0 closed, 1 half-open, 2 open. A failed call is one that shows that the upstream does not work; a 4xx is none.',
            unit: 'none',
            runbook: 'circuit-open',
            keys: ['job', 'upstream'],
            columns: [
              { name: 'Calls', unit: 'reqps', expression: rate('job, upstream', `${calls}_count`, release) },
              {
                name: 'Failed',
                unit: 'percentunit',
                expression: share(
                  rate('job, upstream', `${calls}_count`, failedCalls),
                  rate('job, upstream', `${calls}_count`, release),
                ),
              },
              { name: 'p95', unit: 's', expression: quantile(0.95, 'job, upstream', calls, release) },
              {
                name: 'Circuit',
                unit: 'none',
                expression: `max by (job, upstream) (label_replace(circuit_breaker_state{${release}}, "upstream", "$1", "circuit", "(.+)"))`,
              },
              {
                name: 'Addresses',
                unit: 'none',
                expression: `min by (job, upstream) (upstream_addresses{${release},state="available"})`,
              },
            ],
          }),
          table({
            title: 'Services',
            description:
              'Pods, restarts within an hour and use of resources by service. CPU is the busy part of the event loop.',
            unit: 'none',
            runbook: 'service-down',
            keys: ['job'],
            columns: [
              {
                name: 'Pods',
                unit: 'none',
                expression: `sum by (job) (up{${release},job=~"${jobs}"})`,
              },
              {
                name: 'Versions',
                unit: 'none',
                expression: `count by (job) (count by (job, version) (build_info{${release}}))`,
              },
              {
                name: 'Restarts',
                unit: 'none',
                expression: `sum by (job) (changes(process_start_time_seconds{${release}}[1h]))`,
              },
              {
                name: 'Event loop',
                unit: 'percentunit',
                expression: `max by (job) (rate(nodejs_eventloop_time_seconds_total{${release},nodejs_eventloop_state="active"}[$__rate_interval]))`,
              },
              {
                name: 'Memory',
                unit: 'bytes',
                expression: `max by (job) (process_resident_memory_bytes{${release}})`,
              },
            ],
          }),
        ],
      },
    ],
  });
}

function capitalize(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
