import type { IncomingHttpHeaders } from 'node:http';
import type { SpanKindName } from '../src/tracing/catalog.ts';
import { openHttpServer } from './http-server.ts';

/** A span that the collector received. */
export interface ReceivedSpan {
  /** `service.name` of its process. */
  readonly service: string;
  /** Instrumentation scope. */
  readonly scope: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined for the first span of a trace. */
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: SpanKindName;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly {
    readonly name: string;
    readonly attributes: Readonly<Record<string, unknown>>;
  }[];
  /** Ids of the linked spans. */
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
}

/** One export. */
export interface ReceivedExport {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A collector in this process, for spans over OTLP with `http/json`. It stores exports of other formats unparsed. */
export interface Collector {
  readonly url: string;
  readonly exports: readonly ReceivedExport[];
  readonly spans: readonly ReceivedSpan[];
  /** Attributes of the process of the last export. */
  readonly resource: Readonly<Record<string, unknown>>;
  /** Sets the status of further responses; 0 sends no response. */
  respond(status: number): void;
  close(): Promise<void>;
}

const kinds: readonly SpanKindName[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'];

interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface OtlpSpan extends Pick<ReceivedSpan, 'traceId' | 'spanId' | 'name'> {
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly attributes?: readonly KeyValue[];
  readonly events?: readonly { readonly name: string; readonly attributes?: readonly KeyValue[] }[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code?: number };
}

interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly OtlpSpan[];
    }[];
  }[];
}

export async function startCollector(): Promise<Collector> {
  const exports: ReceivedExport[] = [];
  const spans: ReceivedSpan[] = [];
  let resource: Readonly<Record<string, unknown>> = {};
  let status = 200;

  function read(body: Buffer): void {
    for (const { resource: process, scopeSpans } of (JSON.parse(body.toString()) as OtlpTraces)
      .resourceSpans) {
      resource = valuesOf(process.attributes);
      const service = String(resource['service.name']);
      for (const { scope, spans: received } of scopeSpans)
        for (const span of received) spans.push(toReceived(service, scope.name, span));
    }
  }

  const server = await openHttpServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    exports.push({ path: request.url ?? '', headers: request.headers, body });
    if (status === 0) return;
    if (status === 200 && request.headers['content-type'] === 'application/json') read(body);
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  return {
    url: server.url,
    exports,
    spans,
    get resource() {
      return resource;
    },
    respond(next) {
      status = next;
    },
    close: server.stop,
  };
}

function toReceived(service: string, scope: string, span: OtlpSpan): ReceivedSpan {
  return {
    service,
    scope,
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId || undefined,
    name: span.name,
    kind: kinds[span.kind] ?? 'internal',
    attributes: valuesOf(span.attributes),
    events: (span.events ?? []).map(({ name, attributes }) => ({ name, attributes: valuesOf(attributes) })),
    links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
    failed: span.status?.code === 2,
  };
}

function valuesOf(pairs: readonly KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map(({ key, value }) => [
      key,
      'intValue' in value ? Number(value.intValue) : Object.values(value)[0],
    ]),
  );
}
