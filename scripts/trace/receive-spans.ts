import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openBoundedFile } from '../lib/bounded-file.ts';
import type { TraceSpan } from './model.ts';

/** A receiver of spans in this process. */
export interface SpanReceiver {
  /** Variables with which a service exports its spans to the receiver. */
  readonly env: NodeJS.ProcessEnv;
  close(): Promise<void>;
}

/** Maximum bytes of one export; larger ones are rejected. */
const maxExportBytes = 16 * 1024 * 1024;

/** Receives spans over OTLP (http/json) on a free port of 127.0.0.1 and writes them to a bounded file. */
export async function receiveSpans(file: string, onError: (error: Error) => void): Promise<SpanReceiver> {
  const spans = openBoundedFile(file, onError);
  const server = createServer(async (request, response) => {
    try {
      for (const span of spansIn(JSON.parse(await readBody(request)) as OtlpTraces))
        spans.add(JSON.stringify(span));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    } catch {
      response.writeHead(400).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      // They would take precedence. An empty variable counts as not set.
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: '',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: '',
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      spans.close();
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxExportBytes) throw new Error('the export is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

/** The members of an OTLP export that are used. */
interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

interface OtlpSpan extends Pick<TraceSpan, 'traceId' | 'spanId' | 'name'> {
  readonly parentSpanId?: string;
  /** Nanoseconds since 1970. */
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly links?: TraceSpan['links'];
  readonly status?: { readonly code?: number };
}

const errorStatus = 2;

function spansIn({ resourceSpans }: OtlpTraces): TraceSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ attributes = [], links = [], ...span }): TraceSpan => {
        const startUs = Number(BigInt(span.startTimeUnixNano) / 1000n);
        return {
          traceId: span.traceId,
          spanId: span.spanId,
          parentSpanId: span.parentSpanId || undefined,
          service: textOf(resource.attributes, 'service.name') ?? '',
          name: span.name,
          startUs,
          durationUs: Number(BigInt(span.endTimeUnixNano) / 1000n) - startUs,
          error:
            span.status?.code === errorStatus ? (textOf(attributes, 'error.type') ?? 'error') : undefined,
          correlationId: textOf(attributes, 'zerda.correlation_id'),
          links: links.map(({ traceId, spanId }) => ({ traceId, spanId })),
        };
      }),
    ),
  );
}

function textOf(attributes: readonly KeyValue[], name: string): string | undefined {
  return attributes.find(({ key }) => key === name)?.value.stringValue;
}
