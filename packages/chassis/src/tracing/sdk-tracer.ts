import {
  type Attributes as ApiAttributes,
  type Span as ApiSpan,
  type Tracer as ApiTracer,
  type Context,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { type Attributes, type SpanEventName, type SpanKey, type SpanKindName, spans } from './catalog.ts';
import { errorTypeOf } from './error-type.ts';
import type { Sampler } from './sampler.ts';
import type { Span, SpanOptions, TraceOptions, Tracer } from './span.ts';
import { isSampled, randomHex, spanIdOf, traceIdOf } from './traceparent.ts';
import type { DropReason } from './tracing-metrics.ts';
import type { ExporterSettings } from './tracing-variables.ts';

export interface SdkTracerOptions {
  readonly exporter: ExporterSettings;
  readonly sampler: Sampler;
  /** Attributes of the process. */
  readonly resource: Readonly<Record<string, string>>;
  /** Maximum number of spans that wait for export. */
  readonly maxQueued: number;
  /** Maximum milliseconds between two exports. */
  readonly delayMs: number;
  /** Called with the number of exported spans. */
  readonly onExported: (count: number) => void;
  /** Called with the number of dropped spans and, after a failed export, its error. */
  readonly onDropped: (reason: DropReason, count: number, error?: Error) => void;
}

export interface SdkTracer extends Tracer {
  /** Number of spans that are not exported yet. */
  readonly pending: number;
  /** Exports the remaining spans and closes the exporter. */
  shutdown(): Promise<void>;
}

/** Maximum number of spans in an export. Serializing a span takes several microseconds and delays requests. */
const maxBatch = 256;

/** Creates a tracer of the OpenTelemetry SDK. This module is loaded only if tracing is on. */
export async function createSdkTracer(options: SdkTracerOptions): Promise<SdkTracer> {
  const { maxQueued, delayMs } = options;
  const batches = new CountingExporter(await createExporter(options.exporter), options);
  const batchProcessor = new BatchSpanProcessor({
    exporter: batches,
    maxQueueSize: maxQueued,
    maxExportBatchSize: Math.min(maxBatch, maxQueued),
    scheduledDelayMillis: delayMs,
    exportTimeoutMillis: options.exporter.timeoutMs + 1000,
  });
  const provider = new TracerProvider({
    // The decision is made before a span is created, because an unsampled span of the SDK costs 3 µs.
    sampler: new AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => randomHex(16), generateSpanId: () => randomHex(8) },
    resource: resourceFromAttributes(options.resource),
    spanProcessors: [new BoundedProcessor(batchProcessor, batches, options)],
    spanLimits: {
      attributeCountLimit: 64,
      attributeValueLengthLimit: 1024,
      eventCountLimit: 64,
      linkCountLimit: 64,
    },
  });
  const tracers = Object.fromEntries(
    Object.keys(spans).map((key) => [key, provider.getTracer(`zerda.${key}`)]),
  ) as Tracers;

  return {
    get pending() {
      return batches.queued + batches.inFlight;
    },
    start(key, { parent, sampleBy = parent, ...span }: TraceOptions) {
      if (!options.sampler(sampleBy)) return undefined;
      const context =
        parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remoteContext(parent));
      return startSpan(tracers, key, span, context);
    },
    shutdown: () => provider.shutdown(),
  };
}

type Tracers = Readonly<Record<SpanKey, ApiTracer>>;

const kinds: Readonly<Record<SpanKindName, SpanKind>> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
};

function startSpan(
  tracers: Tracers,
  key: SpanKey,
  { name, attributes, links }: SpanOptions,
  context: Context,
): Span {
  const span = tracers[key].startSpan(
    name,
    {
      kind: kinds[spans[key].kind],
      ...(attributes !== undefined && { attributes: attributes as ApiAttributes }),
      ...(links !== undefined && { links: links.map((link) => ({ context: remoteContext(link) })) }),
    },
    context,
  );
  return new SdkSpan(tracers, span);
}

function remoteContext(traceparent: string): SpanContext {
  return {
    traceId: traceIdOf(traceparent),
    spanId: spanIdOf(traceparent),
    traceFlags: isSampled(traceparent) ? 1 : 0,
    isRemote: true,
  };
}

class SdkSpan implements Span {
  readonly traceparent: string;
  readonly #tracers: Tracers;
  readonly #span: ApiSpan;
  /** Context of children, created by the first one. */
  #context: Context | undefined;

  constructor(tracers: Tracers, span: ApiSpan) {
    const { traceId, spanId } = span.spanContext();
    this.traceparent = `00-${traceId}-${spanId}-01`;
    this.#tracers = tracers;
    this.#span = span;
  }

  startChild(key: SpanKey, options: SpanOptions): Span {
    this.#context ??= trace.setSpan(ROOT_CONTEXT, this.#span);
    return startSpan(this.#tracers, key, options, this.#context);
  }

  setName(name: string): void {
    this.#span.updateName(name);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes as ApiAttributes);
  }

  addLink(traceparent: string): void {
    this.#span.addLink({ context: remoteContext(traceparent) });
  }

  addEvent(name: SpanEventName, attributes?: Attributes): void {
    this.#span.addEvent(name, attributes as ApiAttributes | undefined);
  }

  fail(error: unknown): void {
    this.#span.setAttribute('error.type', typeof error === 'string' ? error : errorTypeOf(error));
    // Without a message: those of errors can contain values of statements.
    this.#span.setStatus({ code: SpanStatusCode.ERROR });
  }

  end(): void {
    this.#span.end();
  }
}

async function createExporter({
  url,
  protocol,
  headers,
  timeoutMs,
}: ExporterSettings): Promise<SpanExporter> {
  const { OTLPTraceExporter } =
    protocol === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto');
  return new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: timeoutMs });
}

/** Counts the results of exports. */
class CountingExporter implements SpanExporter {
  /** Spans in the queue of the batch processor. */
  queued = 0;
  /** Spans in exports that have not ended. */
  inFlight = 0;
  readonly #exporter: SpanExporter;
  readonly #options: Pick<SdkTracerOptions, 'onExported' | 'onDropped'>;

  constructor(exporter: SpanExporter, options: Pick<SdkTracerOptions, 'onExported' | 'onDropped'>) {
    this.#exporter = exporter;
    this.#options = options;
  }

  export(batch: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.queued -= batch.length;
    this.inFlight += batch.length;
    this.#exporter.export(batch, (result) => {
      this.inFlight -= batch.length;
      if (result.code === ExportResultCode.SUCCESS) this.#options.onExported(batch.length);
      else this.#options.onDropped('export_failed', batch.length, result.error);
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }
}

/** Drops and counts spans while the queue is full; the batch processor drops them silently. */
class BoundedProcessor implements SpanProcessor {
  readonly #processor: SpanProcessor;
  readonly #queue: CountingExporter;
  readonly #options: Pick<SdkTracerOptions, 'maxQueued' | 'onDropped'>;

  constructor(
    processor: SpanProcessor,
    queue: CountingExporter,
    options: Pick<SdkTracerOptions, 'maxQueued' | 'onDropped'>,
  ) {
    this.#processor = processor;
    this.#queue = queue;
    this.#options = options;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#queue.queued >= this.#options.maxQueued) {
      this.#options.onDropped('queue_full', 1);
      return;
    }
    this.#queue.queued += 1;
    this.#processor.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.#processor.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.#processor.shutdown();
  }
}
