import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SpanKindName } from '../../packages/chassis/src/tracing/catalog.ts';
import type { ReceivedSpan } from '../../packages/chassis/testing/collector.ts';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePort } from '../../packages/chassis/testing/port.ts';
import { type ServerProgram, startServer } from '../../packages/chassis/testing/server.ts';
import { identifySpan, type JaegerTag, type JaegerTrace } from '../../scripts/trace/jaeger.ts';

/** Jaeger 2, which tests use if it is installed. */
export const jaeger = {
  title: 'Jaeger',
  names: ['jaeger'],
  required: 'REQUIRE_JAEGER',
} as const satisfies ServerProgram;

/** A running Jaeger that stores spans in memory. */
export interface Jaeger {
  /** Base URL for OTLP over HTTP. */
  readonly otlpUrl: string;
  /** Base URL of the query API. */
  readonly queryUrl: string;
  /** Returns all spans of the services. */
  spansOf(services: readonly string[]): Promise<ReceivedSpan[]>;
  close(): Promise<void>;
}

/** Starts Jaeger on free ports. @throws StartupError if it is not installed */
export async function startJaeger(): Promise<Jaeger> {
  const [query, grpc] = [await freePort(), await freePort()];
  const queryUrl = `http://127.0.0.1:${query}`;
  const { url, stop } = await startServer(jaeger, {
    url: (port) => `http://127.0.0.1:${port}`,
    async prepare({ folder, port }) {
      const config = join(folder, 'jaeger.yaml');
      await writeFile(config, configOf({ otlp: port, query, grpc }));
      return ['--config', config];
    },
    connect: (otlpUrl) => Promise.all([otlpUrl, queryUrl].map((server) => sendRequest(server))),
  });
  return {
    otlpUrl: url,
    queryUrl,
    async spansOf(services) {
      const traces = new Map<string, JaegerTrace>();
      for (const service of services) {
        const { body } = await sendRequest(
          `${queryUrl}/api/traces?service=${service}&limit=5000&lookback=1h`,
        );
        for (const trace of body.data as JaegerTrace[]) traces.set(trace.traceID, trace);
      }
      return [...traces.values()].flatMap(spansIn);
    },
    close: stop,
  };
}

function configOf({ otlp, query, grpc }: Record<'otlp' | 'query' | 'grpc', number>): string {
  return JSON.stringify({
    service: {
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: { traces: { receivers: ['otlp'], exporters: ['jaeger_storage_exporter'] } },
      telemetry: { metrics: { level: 'none' }, logs: { level: 'warn' } },
    },
    extensions: {
      jaeger_query: {
        storage: { traces: 'memory' },
        http: { endpoint: `127.0.0.1:${query}` },
        grpc: { endpoint: `127.0.0.1:${grpc}` },
      },
      jaeger_storage: { backends: { memory: { memory: { max_traces: 10_000 } } } },
    },
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${otlp}` } } } },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
  });
}

/** Tags that Jaeger derives from other members of a span. */
const derivedTags = /^(otel\.|span\.kind$|error$|internal\.|w3c\.)/;

function spansIn(trace: JaegerTrace): ReceivedSpan[] {
  return trace.spans.map((span): ReceivedSpan => {
    const tags = valuesOf(span.tags);
    return {
      ...identifySpan(trace, span),
      scope: String(tags['otel.scope.name']),
      kind: (tags['span.kind'] as SpanKindName | undefined) ?? 'internal',
      attributes: Object.fromEntries(Object.entries(tags).filter(([key]) => !derivedTags.test(key))),
      events: (span.logs ?? []).map(({ fields }) => {
        const { event, ...attributes } = valuesOf(fields);
        return { name: String(event), attributes };
      }),
      failed: tags.error === true,
    };
  });
}

function valuesOf(tags: readonly JaegerTag[] = []): Record<string, unknown> {
  return Object.fromEntries(tags.map(({ key, value }) => [key, value]));
}
