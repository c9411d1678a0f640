import type { AttributeName, Attributes, AttributeValue, SpanEventName, SpanKey } from './catalog.ts';
import { AttributeList, type EndedSpan, type EndedSpanEvent } from './ended-span.ts';
import { errorTypeOf } from './error-type.ts';
import { createOtlpExporter } from './otlp-exporter.ts';
import { JsonEncoder } from './otlp-json.ts';
import { ProtobufEncoder } from './otlp-protobuf.ts';
import type { Sampler } from './sampler.ts';
import type { Span, SpanOptions, Tracer } from './span.ts';
import { createSpanQueue, type SpanQueue, type SpanQueueOptions } from './span-queue.ts';
import { randomHex } from './traceparent.ts';
import type { ExporterSettings } from './tracing-variables.ts';

export interface RecordingTracerOptions
  extends Pick<SpanQueueOptions, 'maxQueued' | 'delayMs' | 'onExported' | 'onDropped'> {
  readonly exporter: ExporterSettings;
  readonly sampler: Sampler;
  /** Attributes of the process. */
  readonly resource: Readonly<Record<string, string>>;
}

export interface RecordingTracer extends Tracer {
  /** Number of spans that are not exported yet. */
  readonly pending: number;
  /** Exports the remaining spans. */
  shutdown(): Promise<void>;
}

/** Creates a tracer that exports its spans. This module is loaded only if tracing is on. */
export function createRecordingTracer({
  exporter,
  sampler,
  resource,
  ...queueOptions
}: RecordingTracerOptions): RecordingTracer {
  const encoder = new (exporter.protocol === 'http/json' ? JsonEncoder : ProtobufEncoder)(resource);
  const queue = createSpanQueue({
    encoder,
    send: createOtlpExporter(exporter, encoder.contentType),
    sendTimeoutMs: exporter.timeoutMs + 1000,
    ...queueOptions,
  });
  return {
    get pending() {
      return queue.pending;
    },
    start(key, options) {
      const { parent, sampleBy = parent } = options;
      if (!sampler(sampleBy)) return undefined;
      return new RecordedSpan(queue, currentOrigin(), key, options, parent, true);
    },
    shutdown: queue.flush,
  };
}

/** Maximum number of events and of links of a span. Older ones are dropped. */
const maxItems = 64;

/** Maximum characters of an attribute. */
const maxValueLength = 1024;

const none: readonly never[] = [];

/** A span, which becomes an ended span when it ends. */
class RecordedSpan implements Span, EndedSpan {
  readonly key: SpanKey;
  readonly traceparent: string;
  readonly parent: string | undefined;
  readonly isParentRemote: boolean;
  readonly startMs: number;
  readonly attributes = new AttributeList();
  name: string;
  endMs = 0;
  events: readonly EndedSpanEvent[] = none;
  droppedEvents = 0;
  links: readonly string[] = none;
  droppedLinks = 0;
  isFailed = false;
  readonly #queue: SpanQueue;
  /** Milliseconds since the epoch at zero of the monotonic clock, the same for all spans of a trace in this process. */
  readonly #originMs: number;

  constructor(
    queue: SpanQueue,
    originMs: number,
    key: SpanKey,
    { name, attributes, links }: SpanOptions,
    parent: string | undefined,
    isParentRemote: boolean,
  ) {
    this.#queue = queue;
    this.#originMs = originMs;
    this.key = key;
    this.name = name;
    this.parent = parent;
    this.isParentRemote = parent !== undefined && isParentRemote;
    this.traceparent = parent === undefined ? newTrace() : `00-${parent.slice(3, 35)}-${randomHex(8)}-01`;
    this.startMs = originMs + performance.now();
    if (attributes !== undefined) this.set(attributes);
    if (links !== undefined) for (const link of links) this.addLink(link);
  }

  startChild(key: SpanKey, options: SpanOptions): Span {
    return new RecordedSpan(this.#queue, this.#originMs, key, options, this.traceparent, false);
  }

  setName(name: string): void {
    this.name = name;
  }

  set(attributes: Attributes): void {
    addAttributes(this.attributes, attributes);
  }

  addLink(traceparent: string): void {
    if (this.links.length === maxItems) this.droppedLinks += 1;
    this.links = [...this.links, traceparent].slice(-maxItems);
  }

  addEvent(name: SpanEventName, attributes: Attributes = {}): void {
    const event = { name, timeMs: this.#now(), attributes: new AttributeList() };
    addAttributes(event.attributes, attributes);
    if (this.events.length === maxItems) this.droppedEvents += 1;
    this.events = [...this.events, event].slice(-maxItems);
  }

  fail(error: unknown): void {
    // Without a message: those of errors can contain values of statements.
    setAttribute(this.attributes, 'error.type', typeof error === 'string' ? error : errorTypeOf(error));
    this.isFailed = true;
  }

  end(): void {
    if (this.endMs !== 0) return;
    this.endMs = this.#now();
    this.#queue.add(this);
  }

  #now(): number {
    return this.#originMs + performance.now();
  }
}

function newTrace(): string {
  const ids = randomHex(24);
  return `00-${ids.slice(0, 32)}-${ids.slice(32)}-01`;
}

function addAttributes(list: AttributeList, attributes: Attributes): void {
  for (const name in attributes) {
    const value = attributes[name as AttributeName];
    if (value !== undefined) setAttribute(list, name as AttributeName, value);
  }
}

function setAttribute({ names, values }: AttributeList, name: AttributeName, value: AttributeValue): void {
  const bounded =
    typeof value === 'string' && value.length > maxValueLength ? value.slice(0, maxValueLength) : value;
  const index = names.indexOf(name);
  if (index === -1) {
    names.push(name);
    values.push(bounded);
  } else values[index] = bounded;
}

/** Maximum difference between the two clocks in milliseconds. The system clock is read in whole milliseconds. */
const maxDriftMs = 2;

let originMs = performance.timeOrigin;

/** Returns the time at zero of the monotonic clock, which has a higher resolution than the system clock and follows its adjustments. */
function currentOrigin(): number {
  const now = Date.now();
  const elapsed = performance.now();
  if (Math.abs(now - originMs - elapsed) > maxDriftMs) originMs = now - elapsed;
  return originMs;
}
