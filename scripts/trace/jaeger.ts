import { maxTraces, type TraceSpan, type TraceStore } from './model.ts';
import { parseStoreJson, requestStore } from './store-request.ts';

const variable = 'TRACES_URL';

/** Microseconds before now in which traces are searched by correlation id: one week. */
const searchUs = 7 * 24 * 3_600_000_000;

const traceIdPattern = /^[0-9a-f]{32}$/;

/** A value of a span or of one of its events. */
export interface JaegerTag {
  readonly key: string;
  readonly value: unknown;
}

/** A span in a response of Jaeger's query API. */
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly processID: string;
  readonly startTime: number;
  readonly duration: number;
  readonly references?: readonly {
    readonly refType: string;
    readonly traceID: string;
    readonly spanID: string;
  }[];
  readonly tags?: readonly JaegerTag[];
  readonly logs?: readonly { readonly fields: readonly JaegerTag[] }[];
}

/** A trace in a response of Jaeger's query API. */
export interface JaegerTrace {
  readonly traceID: string;
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
  readonly spans: readonly JaegerSpan[];
}

/** Creates a client of Jaeger's query API. @param baseUrl URL of the server, such as `http://localhost:16686` */
export function createJaeger(baseUrl: string): TraceStore {
  async function query<T>(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<T[]> {
    // 404: there is no trace with this id.
    const request = { variable, baseUrl, path, parameters, accept: [200, 404] };
    const { status, text } = await requestStore(request);
    return status === 404 ? [] : (parseStoreJson<{ data: T[] | null }>(variable, text).data ?? []);
  }

  async function search(correlationId: string, services: readonly string[]): Promise<JaegerTrace[]> {
    const nowUs = Date.now() * 1000;
    const found = await Promise.all(
      services.map((service) =>
        query<JaegerTrace>('api/traces', {
          service,
          tags: JSON.stringify({ 'zerda.correlation_id': correlationId }),
          start: String(nowUs - searchUs),
          end: String(nowUs),
          limit: String(maxTraces),
        }),
      ),
    );
    return found.flat();
  }

  return {
    name: `Jaeger at ${baseUrl}`,
    async find(ids) {
      const services = await query<string>('api/services');
      const traces: JaegerTrace[] = [];
      for (const id of ids) {
        if (traceIdPattern.test(id)) traces.push(...(await query<JaegerTrace>(`api/traces/${id}`)));
        traces.push(...(await search(id, services)));
      }
      return traces.flatMap(spansOf);
    },
  };
}

function spansOf(trace: JaegerTrace): TraceSpan[] {
  return trace.spans.map((span): TraceSpan => {
    const tag = (key: string): unknown => span.tags?.find((candidate) => candidate.key === key)?.value;
    return {
      ...identifySpan(trace, span),
      startUs: span.startTime,
      durationUs: span.duration,
      error: tag('error') === true ? String(tag('error.type') ?? 'error') : undefined,
      correlationId: tag('zerda.correlation_id') as string | undefined,
    };
  });
}

/** Returns the name, the service and the ids of a span, of its parent and of the spans that it links to. */
export function identifySpan({ processes }: JaegerTrace, { references = [], ...span }: JaegerSpan) {
  const parent = references.find(
    ({ refType, traceID }) => refType === 'CHILD_OF' && traceID === span.traceID,
  );
  return {
    traceId: span.traceID,
    spanId: span.spanID,
    parentSpanId: parent?.spanID,
    service: processes[span.processID]?.serviceName ?? '',
    name: span.operationName,
    links: references
      .filter((reference) => reference !== parent)
      .map(({ traceID, spanID }) => ({ traceId: traceID, spanId: spanID })),
  };
}
