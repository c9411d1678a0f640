import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard } from './dashboard.ts';
import { graph } from './panels.ts';
import { quantile, rate, release } from './promql.ts';

const operations = 'db_client_operation_duration_seconds';

export function runtimeDashboard(): Dashboard {
  return dashboard({
    uid: 'zerda-runtime',
    title: 'PostgreSQL and runtime',
    description: 'Database operations and connections as the services see them, and the Node.js processes.',
    rows: [
      {
        title: 'PostgreSQL',
        panels: [
          graph({
            title: 'Database operations',
            description: 'Queries and transactions a second, by service.',
            unit: 'ops',
            queries: [[rate('job, operation', `${operations}_count`, release), '{{job}} {{operation}}']],
          }),
          graph({
            title: 'Outcome of database operations',
            description:
              'Operations a second by outcome. `unavailable`: the server could not be reached. `failed`: a statement failed.',
            unit: 'ops',
            runbook: 'relay-stuck',
            queries: [[rate('job, outcome', `${operations}_count`, release), '{{job}} {{outcome}}']],
          }),
          graph({
            title: 'Duration of database operations, 95th percentile',
            description: 'Time with the wait for a connection and retries.',
            unit: 's',
            runbook: 'pool-exhausted',
            queries: [[quantile(0.95, 'job, operation', operations, release), '{{job}} {{operation}}']],
          }),
          graph({
            title: 'Connections',
            description: 'Connections of the pool by state, over all pods of a service.',
            unit: 'short',
            runbook: 'pool-exhausted',
            queries: [
              [`sum by (job, state) (pool_connections{${release},pool="database"})`, '{{job}} {{state}}'],
              [`sum by (job) (pool_max_connections{${release},pool="database"})`, '{{job}} maximum'],
            ],
          }),
        ],
      },
      {
        title: 'Node.js',
        panels: [
          graph({
            title: 'CPU',
            description: 'CPU cores in use by pod.',
            unit: 'none',
            runbook: 'event-loop-late',
            queries: [[rate('job, pod', 'process_cpu_seconds_total', release), '{{pod}}']],
          }),
          graph({
            title: 'Event loop',
            description: 'Busy part of the event loop by pod.',
            unit: 'percentunit',
            runbook: 'event-loop-late',
            queries: [
              [
                rate(
                  'job, pod',
                  'nodejs_eventloop_time_seconds_total',
                  `${release},nodejs_eventloop_state="active"`,
                ),
                '{{pod}}',
              ],
            ],
          }),
          graph({
            title: 'Event loop delay, 99th percentile',
            description: 'How late the event loop runs, by pod.',
            unit: 's',
            runbook: 'event-loop-late',
            queries: [[`max by (job, pod) (nodejs_eventloop_lag_p99_seconds{${release}})`, '{{pod}}']],
          }),
          graph({
            title: 'Heap',
            description: "Used part of V8's heap limit by pod.",
            unit: 'percentunit',
            runbook: 'memory-near-limit',
            queries: [
              [
                `nodejs_heap_size_used_bytes{${release}} / nodejs_heap_size_limit_bytes{${release}}`,
                '{{pod}}',
              ],
            ],
          }),
          graph({
            title: 'Memory by space',
            description:
              'Memory of the processes of all pods, and the parts of it in the heap and in buffers.',
            unit: 'bytes',
            runbook: 'memory-near-limit',
            queries: [
              [`sum by (job) (process_resident_memory_bytes{${release}})`, '{{job}}'],
              [`sum by (job) (nodejs_heap_size_used_bytes{${release}})`, '{{job}} heap'],
              [`sum by (job) (nodejs_external_memory_bytes{${release}})`, '{{job}} buffers'],
            ],
          }),
          graph({
            title: 'Garbage collection',
            description: 'Part of the time that garbage collection takes, by kind.',
            unit: 'percentunit',
            runbook: 'memory-near-limit',
            queries: [[rate('job, kind', 'nodejs_gc_duration_seconds_sum', release), '{{job}} {{kind}}']],
          }),
          graph({
            title: 'Open file descriptors',
            description: 'Open files and connections by pod.',
            unit: 'short',
            queries: [[`max by (job, pod) (process_open_fds{${release}})`, '{{pod}}']],
          }),
        ],
      },
      {
        title: 'Tracing',
        panels: [
          graph({
            title: 'Exported spans',
            description: 'Spans a second that the collector accepted, by service. No data without tracing.',
            unit: 'ops',
            span: 12,
            queries: [[rate('job', 'trace_spans_exported_total', release), '{{job}}']],
          }),
          graph({
            title: 'Dropped spans',
            description:
              'Spans a second that were not exported. `queue_full`: recorded faster than exported. `export_failed`: the collector did not accept them.',
            unit: 'ops',
            runbook: 'spans-dropped',
            span: 12,
            queries: [[rate('job, reason', 'trace_spans_dropped_total', release), '{{job}} {{reason}}']],
          }),
        ],
      },
    ],
  });
}
