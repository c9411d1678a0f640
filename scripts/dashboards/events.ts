import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard } from './dashboard.ts';
import { graph, stat } from './panels.ts';
import { quantile, rate, release } from './promql.ts';

export function eventsDashboard(): Dashboard {
  return dashboard({
    uid: 'zerda-events',
    title: 'Events',
    description: 'Events from the outbox of the sender to their effect at the receiver.',
    rows: [
      {
        title: 'Now',
        panels: [
          stat({
            title: 'Oldest unsent event',
            description: 'Age of the oldest event in an outbox.',
            unit: 's',
            runbook: 'outbox-delayed',
            span: 6,
            expression: `max(outbox_oldest_seconds{${release}})`,
            steps: [
              { from: Number.NEGATIVE_INFINITY, color: 'green' },
              { from: 10, color: 'orange' },
              { from: 120, color: 'red' },
            ],
          }),
          stat({
            title: 'Unsent events',
            description: 'Events in all outboxes.',
            unit: 'short',
            runbook: 'outbox-delayed',
            span: 6,
            expression: `sum(max by (job) (outbox_pending{${release}}))`,
          }),
          stat({
            title: 'Dead letters',
            description: 'Events that wait for a replay or discard.',
            unit: 'short',
            runbook: 'dead-letters',
            span: 6,
            expression: `sum(max by (job, side) (dead_letters{${release}}))`,
            steps: [
              { from: Number.NEGATIVE_INFINITY, color: 'green' },
              { from: 1, color: 'red' },
            ],
          }),
          stat({
            title: 'Last cycle of a relay',
            description: 'Longest time since the relay of a service read its outbox.',
            unit: 's',
            runbook: 'relay-stuck',
            span: 6,
            expression: `max(time() - max by (job) (relay_last_cycle_timestamp_seconds{${release}}))`,
          }),
        ],
      },
      {
        title: 'Sending',
        panels: [
          graph({
            title: 'Events in the outbox',
            description: 'Unsent events by service.',
            unit: 'short',
            runbook: 'outbox-delayed',
            queries: [[`max by (job) (outbox_pending{${release}})`, '{{job}}']],
          }),
          graph({
            title: 'Age of the oldest unsent event',
            description: 'Age of the oldest event in the outbox, by service.',
            unit: 's',
            runbook: 'outbox-delayed',
            queries: [[`max by (job) (outbox_oldest_seconds{${release}})`, '{{job}}']],
          }),
          graph({
            title: 'Sent events and retries',
            description: 'Events a second that all receivers acknowledged, and failed attempts, by type.',
            unit: 'ops',
            runbook: 'outbox-delayed',
            queries: [
              [rate('type', 'events_sent_total', release), '{{type}}'],
              [rate('type', 'events_retried_total', release), '{{type}} retried'],
            ],
          }),
        ],
      },
      {
        title: 'Receiving',
        panels: [
          graph({
            title: 'From creation to effect',
            description:
              'Time from the creation of an event to its effect at the receiver, by type. It includes the difference of the two clocks.',
            unit: 's',
            runbook: 'outbox-delayed',
            queries: [0.5, 0.99].map(
              (q) =>
                [
                  quantile(q, 'type', 'event_delivery_duration_seconds', release),
                  `{{type}} p${q * 100}`,
                ] as const,
            ),
          }),
          graph({
            title: 'Received events by outcome',
            description:
              'Events a second: applied, duplicate, stale, failed (retried), unavailable (database), dead-lettered.',
            unit: 'ops',
            runbook: 'dead-letters',
            queries: [
              [
                rate('type, outcome', 'event_handler_duration_seconds_count', release),
                '{{type}} {{outcome}}',
              ],
            ],
          }),
          graph({
            title: 'Handler duration, 99th percentile',
            description: 'Duration of the handler by type.',
            unit: 's',
            queries: [[quantile(0.99, 'type', 'event_handler_duration_seconds', release), '{{type}}']],
          }),
          graph({
            title: 'Stored dead letters',
            description: 'Stored dead letters by service and side.',
            unit: 'short',
            runbook: 'dead-letters',
            queries: [[`max by (job, side) (dead_letters{${release}})`, '{{job}} {{side}}']],
          }),
          graph({
            title: 'Rejected events',
            description:
              'Events a second without a valid signature, by transport and reason. Another client may be sending events.',
            unit: 'ops',
            queries: [
              [
                rate('job, transport, reason', 'events_rejected_total', release),
                '{{job}} {{transport}} {{reason}}',
              ],
            ],
          }),
        ],
      },
    ],
  });
}
