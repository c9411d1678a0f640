import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard } from './dashboard.ts';
import { graph, table } from './panels.ts';
import { gateway, quantile, rate, release, share } from './promql.ts';

const requests = 'http_server_request_duration_seconds';
const count = `${requests}_count`;
const calls = 'http_client_request_duration_seconds';

export function gatewayDashboard(): Dashboard {
  return dashboard({
    uid: 'zerda-gateway',
    title: 'Gateway',
    description: 'Routes, upstreams, circuit breakers, limits, cache, authentication and logins.',
    rows: [
      {
        title: 'Routes',
        panels: [
          table({
            title: 'Routes',
            description: 'Traffic of each route. Rejected: requests with a status of 400 to 499.',
            unit: 'none',
            runbook: 'availability-budget-burn',
            keys: ['http_route'],
            columns: [
              { name: 'Requests', unit: 'reqps', expression: rate('http_route', count, gateway) },
              ...[
                { name: 'Errors', statuses: '5..' },
                { name: 'Rejected', statuses: '4..' },
              ].map(({ name, statuses }) => ({
                name,
                unit: 'percentunit' as const,
                expression: share(
                  rate('http_route', count, `${gateway},http_response_status_code=~"${statuses}"`),
                  rate('http_route', count, gateway),
                ),
              })),
              { name: 'p50', unit: 's', expression: quantile(0.5, 'http_route', requests, gateway) },
              { name: 'p99', unit: 's', expression: quantile(0.99, 'http_route', requests, gateway) },
            ],
          }),
        ],
      },
      {
        title: 'Upstreams and circuits',
        panels: [
          graph({
            title: 'Calls by outcome',
            description:
              'Calls a second by upstream and outcome. `answered` includes 4xx; `circuit_open` and `overloaded` calls were not sent.',
            unit: 'reqps',
            runbook: 'circuit-open',
            queries: [[rate('upstream, outcome', `${calls}_count`, gateway), '{{upstream}} {{outcome}}']],
          }),
          graph({
            title: 'Response time of upstreams, 95th percentile',
            description: 'Time of one attempt, from dispatch to the end of the response.',
            unit: 's',
            runbook: 'latency-budget-burn',
            queries: [[quantile(0.95, 'upstream', calls, gateway), '{{upstream}}']],
          }),
          graph({
            title: 'Calls in flight',
            description: 'Calls in flight by upstream, over all pods. The bulkhead limits them.',
            unit: 'short',
            runbook: 'pool-exhausted',
            queries: [[`sum by (upstream) (http_client_active_requests{${gateway}})`, '{{upstream}}']],
          }),
          graph({
            title: 'Circuit state',
            description: '0 closed, 1 half-open, 2 open: the worst of all pods.',
            unit: 'none',
            runbook: 'circuit-open',
            queries: [[`max by (circuit) (circuit_breaker_state{${gateway}})`, '{{circuit}}']],
          }),
          graph({
            title: 'Circuit events',
            description: 'Events a second by circuit: `reject` is a call that was not made.',
            unit: 'ops',
            runbook: 'circuit-open',
            queries: [
              [rate('circuit, event', 'circuit_breaker_events_total', gateway), '{{circuit}} {{event}}'],
            ],
          }),
          graph({
            title: 'Addresses and retries',
            description:
              'Available addresses of each upstream (the least of all pods), and retries a second.',
            unit: 'short',
            runbook: 'upstream-without-address',
            queries: [
              [
                `min by (upstream) (upstream_addresses{${gateway},state="available"})`,
                '{{upstream}} addresses',
              ],
              [rate('upstream', 'http_client_retries_total', gateway), '{{upstream}} retries'],
            ],
          }),
        ],
      },
      {
        title: 'Limits and load shedding',
        panels: [
          graph({
            title: 'Requests above a rate limit',
            description: 'Requests a second that got 429, by route and scope (caller, upstream).',
            unit: 'reqps',
            queries: [
              [rate('http_route, scope', 'rate_limited_requests_total', gateway), '{{http_route}} {{scope}}'],
            ],
          }),
          graph({
            title: 'Shared limits',
            description:
              '1 while all pods share their counters in Valkey, 0 while one of them counts alone. Absent without Valkey.',
            unit: 'none',
            runbook: 'valkey-unavailable',
            queries: [[`min by (job) (rate_limits_shared{${gateway}})`, 'shared']],
          }),
          graph({
            title: 'Shed requests and slow clients',
            description:
              'Requests a second that got 503 because of overload, and slow clients that were disconnected.',
            unit: 'reqps',
            runbook: 'event-loop-late',
            queries: [
              [rate('reason', 'shed_requests_total', gateway), 'shed: {{reason}}'],
              [
                rate('direction, reason', 'slow_clients_disconnected_total', gateway),
                'slow {{direction}}: {{reason}}',
              ],
            ],
          }),
        ],
      },
      {
        title: 'Cache',
        panels: [
          graph({
            title: 'Cache lookups',
            description: 'Requests a second to cached routes, by outcome.',
            unit: 'reqps',
            queries: [[rate('outcome', 'cache_requests_total', gateway), '{{outcome}}']],
          }),
          graph({
            title: 'Cache hits',
            description:
              'Part of the requests to cached routes that did not wait for an upstream: hit, stale.',
            unit: 'percentunit',
            queries: [
              [
                share(
                  rate('http_route', 'cache_requests_total', `${gateway},outcome=~"hit|stale"`),
                  rate('http_route', 'cache_requests_total', gateway),
                ),
                '{{http_route}}',
              ],
            ],
          }),
          graph({
            title: 'Cache size',
            description: 'Used part of CACHE_MAX_BYTES by pod.',
            unit: 'percentunit',
            queries: [[`cache_bytes{${gateway}} / cache_max_bytes{${gateway}}`, '{{pod}}']],
          }),
        ],
      },
      {
        title: 'Authentication and logins',
        panels: [
          graph({
            title: 'Authentications',
            description:
              'Requests a second by the outcome of their authentication. `remembered` tokens were verified before.',
            unit: 'reqps',
            runbook: 'jwks-stale',
            queries: [[rate('outcome', 'authentications_total', gateway), '{{outcome}}']],
          }),
          graph({
            title: 'Age of keys',
            description:
              'Age of the JWKS of each service, and of the key that signs access tokens. A JWKS grows old without requests too.',
            unit: 's',
            runbook: 'jwks-stale',
            queries: [
              [`max by (job) (jwks_age_seconds{${release}})`, '{{job}} JWKS'],
              [`max(signing_key_age_seconds{${release}})`, 'signing key'],
            ],
          }),
          graph({
            title: 'Logins',
            description: 'Password checks a second by outcome.',
            unit: 'ops',
            runbook: 'login-flood',
            queries: [[rate('outcome', 'logins_total', release), '{{outcome}}']],
          }),
          graph({
            title: 'Login queue',
            description: 'Running and waiting password hashes over all pods, and the capacity of the queue.',
            unit: 'short',
            runbook: 'login-flood',
            queries: [
              [`sum by (state) (password_work{${release}})`, '{{state}}'],
              [`sum(password_queue_capacity{${release}})`, 'capacity'],
            ],
          }),
        ],
      },
    ],
  });
}
