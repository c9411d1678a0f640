import { type AttributeValue, type SpanKey, spans } from './catalog.ts';
import {
  type AttributeList,
  type EndedSpan,
  flagsOf,
  isNatural,
  kindNumbers,
  linkFlagsOf,
  type SpanEncoder,
  statusCodeOf,
} from './ended-span.ts';
import { spanIdOf, traceIdOf } from './traceparent.ts';

/** Encodes spans as OTLP JSON (OTLP specification, "JSON Protobuf Encoding"). */
export class JsonEncoder implements SpanEncoder {
  readonly contentType = 'application/json';
  readonly #resource: string;
  /** Encoded spans by scope. */
  readonly #scopes = new Map<SpanKey, string[]>();

  constructor(resource: Readonly<Record<string, string>>) {
    const attributes = { names: Object.keys(resource), values: Object.values(resource) };
    this.#resource = JSON.stringify({ attributes: keyValues(attributes), droppedAttributesCount: 0 });
  }

  add(span: EndedSpan): void {
    const encoded = JSON.stringify(toJson(span));
    const scope = this.#scopes.get(span.key);
    if (scope === undefined) this.#scopes.set(span.key, [encoded]);
    else scope.push(encoded);
  }

  take(): Uint8Array {
    const scopes = [...this.#scopes].map(
      ([key, encoded]) => `{"scope":{"name":"zerda.${key}"},"spans":[${encoded.join(',')}]}`,
    );
    this.#scopes.clear();
    return Buffer.from(
      `{"resourceSpans":[{"resource":${this.#resource},"scopeSpans":[${scopes.join(',')}]}]}`,
    );
  }
}

function toJson(span: EndedSpan): object {
  const { key, name, traceparent, parent, attributes, events, links } = span;
  return {
    traceId: traceIdOf(traceparent),
    spanId: spanIdOf(traceparent),
    parentSpanId: parent && spanIdOf(parent),
    name,
    kind: kindNumbers[spans[key].kind],
    startTimeUnixNano: nanosecondsOf(span.startMs),
    endTimeUnixNano: nanosecondsOf(span.endMs),
    attributes: keyValues(attributes),
    droppedAttributesCount: 0,
    events: events.map((event) => ({
      attributes: keyValues(event.attributes),
      name: event.name,
      timeUnixNano: nanosecondsOf(event.timeMs),
      droppedAttributesCount: 0,
    })),
    droppedEventsCount: span.droppedEvents,
    status: { code: statusCodeOf(span) },
    links: links.map((link) => ({
      attributes: [],
      spanId: spanIdOf(link),
      traceId: traceIdOf(link),
      droppedAttributesCount: 0,
      flags: linkFlagsOf(link),
    })),
    droppedLinksCount: span.droppedLinks,
    flags: flagsOf(span),
  };
}

function keyValues({
  names,
  values,
}: {
  names: readonly string[];
  values: AttributeList['values'];
}): object[] {
  return names.map((key, index) => ({ key, value: anyValue(values[index] as AttributeValue) }));
}

function anyValue(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return isNatural(value) ? { intValue: value } : { doubleValue: value };
}

/** Returns a time in nanoseconds, which exceed the precision of numbers. @param ms milliseconds since the epoch, with a fraction */
function nanosecondsOf(ms: number): string {
  const whole = Math.floor(ms);
  return String(BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6)));
}
