import { Histogram, type Registry } from 'prom-client';
import type { Span } from '../tracing/span.ts';
import { spanIdOf, traceIdOf } from '../tracing/traceparent.ts';

export interface DurationHistogramOptions<Label extends string> {
  /** Name that ends in `_seconds`. */
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly Label[];
  /** Upper limits in seconds, in ascending order. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

/** A histogram of durations whose buckets have the last recorded trace as an exemplar. */
export interface DurationHistogram<Label extends string> {
  /** Records a duration. @param span the recorded span of the work; undefined leaves the exemplar as it is */
  observe(labels: Readonly<Record<Label, string | number>>, seconds: number, span: Span | undefined): void;
}

/** Creates a histogram. Its exemplars are part of the OpenMetrics format only. */
export function createDurationHistogram<Label extends string>({
  name,
  help,
  labelNames,
  buckets,
  registry,
}: DurationHistogramOptions<Label>): DurationHistogram<Label> {
  const histogram = new Histogram<string>({
    name,
    help,
    labelNames: [...labelNames],
    buckets: [...buckets],
    enableExemplars: true,
    // The constructor rejects exemplars in a registry of the text format, which ignores them.
    registers: [],
  });
  registry.registerMetric(histogram);
  return {
    observe(labels, value, span) {
      if (span === undefined) histogram.observe({ labels, value });
      else {
        const { traceparent } = span;
        const exemplarLabels = { trace_id: traceIdOf(traceparent), span_id: spanIdOf(traceparent) };
        histogram.observe({ labels, value, exemplarLabels });
      }
    },
  };
}
