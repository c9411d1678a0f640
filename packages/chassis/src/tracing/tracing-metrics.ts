import { Counter, type Registry } from 'prom-client';

/** Reason why a span was not exported: the queue was full, or the collector did not accept it. */
export type DropReason = 'queue_full' | 'export_failed';

/** Metrics of the export of spans. */
export interface TracingMetrics {
  exported(count: number): void;
  dropped(reason: DropReason, count: number): void;
}

export function createTracingMetrics(registry: Registry): TracingMetrics {
  const registers = [registry];
  const exported = new Counter({
    name: 'trace_spans_exported_total',
    help: 'Spans that the collector accepted.',
    registers,
  });
  const dropped = new Counter({
    name: 'trace_spans_dropped_total',
    help: 'Spans that were not exported, by reason: queue_full, export_failed.',
    labelNames: ['reason'],
    registers,
  });
  // Exported as 0 from the start: otherwise `increase()` in an alert misses the first one.
  for (const reason of ['queue_full', 'export_failed'] satisfies DropReason[]) dropped.inc({ reason }, 0);
  return {
    exported: (count) => exported.inc(count),
    dropped: (reason, count) => dropped.inc({ reason }, count),
  };
}
