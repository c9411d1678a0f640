import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard } from './dashboard.ts';
import { graph } from './panels.ts';
import { quantile, rate, service, share } from './promql.ts';

const requests = 'http_server_request_duration_seconds';
const count = `${requests}_count`;
const errors = `${service},http_response_status_code=~"5.."`;

/** Adds the version of the pod to each series of an expression. */
const withVersion = `* on (namespace, job, instance) group_left (version) build_info{${service}}`;

export function serviceDashboard(): Dashboard {
  return dashboard({
    uid: 'zerda-service',
    title: 'Service',
    description:
      'Rate, errors and duration of the requests of one service, and its use of resources, by pod and version.',
    selectsJob: true,
    rows: [
      {
        title: 'Requests',
        panels: [
          graph({
            title: 'Requests by route',
            description: 'Requests a second by route pattern. `unmatched` are paths without a route.',
            unit: 'reqps',
            queries: [[rate('http_route', count, service), '{{http_route}}']],
          }),
          graph({
            title: 'Requests by status',
            description:
              'Requests a second by status. 499: the client disconnected before the response ended.',
            unit: 'reqps',
            queries: [[rate('http_response_status_code', count, service), '{{http_response_status_code}}']],
          }),
          graph({
            title: 'Requests in flight',
            description: 'Requests in flight by pod.',
            unit: 'short',
            queries: [[`sum by (pod) (http_server_active_requests{${service}})`, '{{pod}}']],
          }),
          graph({
            title: 'Server errors by route',
            description: 'Part of the requests of each route with a status of 500 or above.',
            unit: 'percentunit',
            runbook: 'availability-budget-burn',
            queries: [
              [
                share(rate('http_route', count, errors), rate('http_route', count, service)),
                '{{http_route}}',
              ],
            ],
          }),
          graph({
            title: 'Response time',
            description: 'Quantiles of the time from the request head to the end of the response.',
            unit: 's',
            runbook: 'latency-budget-burn',
            queries: [0.5, 0.95, 0.99].map(
              (q) => [quantile(q, '', requests, service), `p${q * 100}`] as const,
            ),
          }),
          graph({
            title: 'Response time by route, 95th percentile',
            description: 'Time from the request head to the end of the response, by route pattern.',
            unit: 's',
            runbook: 'latency-budget-burn',
            queries: [[quantile(0.95, 'http_route', requests, service), '{{http_route}}']],
          }),
        ],
      },
      {
        title: 'By pod and version',
        panels: [
          graph({
            title: 'Requests by pod',
            description: 'Requests a second by pod. Unequal rates show that the callers do not balance.',
            unit: 'reqps',
            queries: [[rate('pod', count, service), '{{pod}}']],
          }),
          graph({
            title: 'Server errors by version',
            description:
              'Part of the requests of each version with a status of 500 or above. Compare versions during a rollout.',
            unit: 'percentunit',
            runbook: 'availability-budget-burn',
            queries: [[share(byVersion(count, errors), byVersion(count, service)), '{{version}}']],
          }),
          graph({
            title: 'Mean response time by version',
            description: 'Mean time from the request head to the end of the response, by version.',
            unit: 's',
            runbook: 'latency-budget-burn',
            queries: [
              [`${byVersion(`${requests}_sum`, service)} / ${byVersion(count, service)}`, '{{version}}'],
            ],
          }),
        ],
      },
      {
        title: 'Resources',
        panels: [
          graph({
            title: 'Event loop',
            description: 'Busy part of the event loop by pod. Near 100 % the pod cannot serve more requests.',
            unit: 'percentunit',
            runbook: 'event-loop-late',
            queries: [
              [
                rate(
                  'pod',
                  'nodejs_eventloop_time_seconds_total',
                  `${service},nodejs_eventloop_state="active"`,
                ),
                '{{pod}}',
              ],
            ],
          }),
          graph({
            title: 'Event loop delay, 99th percentile',
            description:
              'How late the event loop runs, by pod. About 0.01 s is the resolution of the measurement.',
            unit: 's',
            runbook: 'event-loop-late',
            queries: [[`max by (pod) (nodejs_eventloop_lag_p99_seconds{${service}})`, '{{pod}}']],
          }),
          graph({
            title: 'Memory',
            description: 'Memory of the process by pod, and the limit of its container if there is one.',
            unit: 'bytes',
            runbook: 'memory-near-limit',
            queries: [
              [`max by (pod) (process_resident_memory_bytes{${service}})`, '{{pod}}'],
              [`min(process_memory_limit_bytes{${service}})`, 'limit'],
            ],
          }),
          graph({
            title: 'Pools',
            description:
              'Used part of the connections of each pool. The pool of an upstream has the name of the upstream.',
            unit: 'percentunit',
            runbook: 'pool-exhausted',
            queries: [
              [
                `max by (pod, pool) (pool_connections{${service},state="used"} / on (namespace, job, instance, pool) pool_max_connections{${service}})`,
                '{{pool}} {{pod}}',
              ],
            ],
          }),
          graph({
            title: 'Callers that wait for a connection',
            description: 'Callers that wait because all connections of a pool are in use.',
            unit: 'short',
            runbook: 'pool-exhausted',
            queries: [[`sum by (pool) (pool_connections{${service},state="waiting"})`, '{{pool}}']],
          }),
          graph({
            title: 'Restarts within an hour',
            description: 'Restarts of the process by pod.',
            unit: 'short',
            runbook: 'restarts',
            queries: [[`max by (pod) (changes(process_start_time_seconds{${service}}[1h]))`, '{{pod}}']],
          }),
        ],
      },
    ],
  });
}

function byVersion(metric: string, selector: string): string {
  return `sum by (version) (rate(${metric}{${selector}}[$__rate_interval]) ${withVersion})`;
}
