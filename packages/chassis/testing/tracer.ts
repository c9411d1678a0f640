import { Deadline } from '../src/deadline.ts';
import type { RequestContext } from '../src/request-context.ts';
import type { Attributes, SpanEventName, SpanKey } from '../src/tracing/catalog.ts';
import { errorTypeOf } from '../src/tracing/error-type.ts';
import type { Span, SpanOptions, Tracer } from '../src/tracing/span.ts';
import { isSampled, newTraceparent, randomHex } from '../src/tracing/traceparent.ts';

/** A span that a test recorded. */
export interface RecordedSpan {
  readonly key: SpanKey;
  name: string;
  readonly traceparent: string;
  /** `traceparent` of its parent; undefined for the first span of a trace. */
  readonly parent: string | undefined;
  attributes: Attributes;
  readonly events: { readonly name: SpanEventName; readonly attributes: Attributes }[];
  readonly links: string[];
  failed: boolean;
  ended: boolean;
}

/** Creates a tracer that records its spans in memory. It samples all new traces. */
export function recordingTracer(): { tracer: Tracer; spans: RecordedSpan[] } {
  const spans: RecordedSpan[] = [];
  function start(key: SpanKey, { name, attributes = {}, links = [] }: SpanOptions, parent?: string): Span {
    const traceparent = `${(parent ?? newTraceparent()).slice(0, 36)}${randomHex(8)}-01`;
    const recorded: RecordedSpan = {
      key,
      name,
      traceparent,
      parent,
      attributes: defined(attributes),
      events: [],
      links: [...links],
      failed: false,
      ended: false,
    };
    spans.push(recorded);
    return {
      traceparent,
      startChild: (child, options) => start(child, options, traceparent),
      setName(next) {
        recorded.name = next;
      },
      set(more) {
        recorded.attributes = { ...recorded.attributes, ...defined(more) };
      },
      addLink(target) {
        recorded.links.push(target);
      },
      addEvent(event, eventAttributes = {}) {
        recorded.events.push({ name: event, attributes: defined(eventAttributes) });
      },
      fail(error) {
        recorded.failed = true;
        const type = typeof error === 'string' ? error : errorTypeOf(error);
        recorded.attributes = { ...recorded.attributes, 'error.type': type };
      },
      end() {
        recorded.ended = true;
      },
    };
  }
  return {
    tracer: {
      start: (key, { parent, sampleBy = parent, ...options }) =>
        sampleBy === undefined || isSampled(sampleBy) ? start(key, options, parent) : undefined,
    },
    spans,
  };
}

function defined(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}

/** Creates the context of a recorded request. `children` are the spans that it records. */
export function recordedRequest(): {
  readonly context: RequestContext & { readonly span: Span };
  children(): readonly RecordedSpan[];
  /** The span of the request. */
  readonly request: RecordedSpan;
} {
  const { tracer, spans } = recordingTracer();
  const span = tracer.start('request', { name: 'GET' });
  const [request] = spans;
  if (span === undefined || request === undefined) throw new Error('the tracer samples all new traces');
  return {
    context: {
      correlationId: 'abc',
      deadline: Deadline.after(10_000),
      traceparent: span.traceparent,
      span,
    },
    children: () => spans.slice(1),
    request,
  };
}
