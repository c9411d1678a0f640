import type { Attributes, SpanEventName, SpanKey } from './catalog.ts';

/** Where a span starts. */
export interface SpanOptions {
  readonly name: string;
  readonly attributes?: Attributes;
  /** `traceparent` values of related spans in other traces. */
  readonly links?: readonly string[];
}

/** A span that is recorded. Code that holds none does nothing for tracing. */
export interface Span {
  /** `traceparent` that identifies this span as the parent (W3C Trace Context). */
  readonly traceparent: string;
  /** Starts a child span. */
  startChild(key: SpanKey, options: SpanOptions): Span;
  setName(name: string): void;
  set(attributes: Attributes): void;
  /** Adds a link to a span that this one depends on. @param traceparent `traceparent` of that span */
  addLink(traceparent: string): void;
  addEvent(name: SpanEventName, attributes?: Attributes): void;
  /** Marks the span as failed. @param error an error, or the value of `error.type` */
  fail(error: unknown): void;
  end(): void;
}

export interface TraceOptions extends SpanOptions {
  /** `traceparent` of the remote parent; undefined starts a trace. */
  readonly parent?: string | undefined;
  /** `traceparent` whose sampling decision the trace follows; by default that of the parent. */
  readonly sampleBy?: string | undefined;
}

/** Starts the first span of a process in a trace. */
export interface Tracer {
  /** Returns undefined if the sampler rejects the trace: no spans are recorded for it. */
  start(key: SpanKey, options: TraceOptions): Span | undefined;
}
