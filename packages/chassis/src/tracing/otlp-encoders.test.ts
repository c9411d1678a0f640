import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import fc from 'fast-check';
import {
  type AttributeName,
  attributes,
  type SpanEventName,
  type SpanKey,
  spanEvents,
  spans,
} from './catalog.ts';
import type { AttributeList, EndedSpan, SpanEncoder } from './ended-span.ts';
import { JsonEncoder } from './otlp-json.ts';
import { ProtobufEncoder } from './otlp-protobuf.ts';
import { isSampled, spanIdOf, traceIdOf } from './traceparent.ts';

type SdkSpan = Parameters<typeof ProtobufTraceSerializer.serializeRequest>[0][number];

const keys = Object.keys(spans);

const scopes = new Map(keys.map((key) => [key, { name: `zerda.${key}` }]));

/** Returns the span as one of the SDK. */
function toSdk(span: EndedSpan, resource: SdkSpan['resource']): SdkSpan {
  const context = (traceparent: string, isRemote: boolean) => ({
    traceId: traceIdOf(traceparent),
    spanId: spanIdOf(traceparent),
    traceFlags: isSampled(traceparent) ? 1 : 0,
    isRemote,
  });
  return {
    name: span.name,
    kind: ['internal', 'server', 'client', 'producer', 'consumer'].indexOf(spans[span.key].kind),
    spanContext: () => context(span.traceparent, false),
    ...(span.parent !== undefined && { parentSpanContext: context(span.parent, span.isParentRemote) }),
    startTime: hrTime(span.startMs),
    endTime: hrTime(span.endMs),
    status: { code: span.isFailed ? 2 : 0 },
    attributes: valuesOf(span.attributes),
    links: span.links.map((link) => ({ context: context(link, true) })),
    events: span.events.map(({ name, timeMs, attributes: list }) => ({
      name,
      time: hrTime(timeMs),
      attributes: valuesOf(list),
    })),
    duration: [0, 0],
    ended: true,
    resource,
    instrumentationScope: scopes.get(span.key) ?? { name: '' },
    droppedAttributesCount: 0,
    droppedEventsCount: span.droppedEvents,
    droppedLinksCount: span.droppedLinks,
  };
}

function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000);
  const wholeMs = Math.floor(ms);
  return [seconds, (wholeMs - seconds * 1000) * 1e6 + Math.round((ms - wholeMs) * 1e6)];
}

const valuesOf = ({ names, values }: AttributeList) =>
  Object.fromEntries(names.map((name, index) => [name, values[index]]));

const keysOf = <Key extends string>(catalog: Readonly<Record<Key, unknown>>) => Object.keys(catalog) as Key[];

const text = fc.oneof(
  fc.string({ maxLength: 140 }),
  fc.string({ unit: 'binary', maxLength: 140 }),
  fc.string({ minLength: 900, maxLength: 1024 }),
);
const value = fc.oneof(text, fc.boolean(), fc.maxSafeNat(), fc.double({ min: 0.1, max: 0.9 }));
const hex = (digits: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });
const traceparent = fc
  .tuple(hex(32), hex(16), fc.constantFrom('00', '01'))
  .map(([traceId, spanId, flags]) => `00-${traceId}-${spanId}-${flags}`);
const list = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...keysOf(attributes)), value), { selector: ([name]) => name })
  .map(
    (pairs): AttributeList => ({
      names: pairs.map(([name]): AttributeName => name),
      values: pairs.map(([, entry]) => entry),
    }),
  );
/** Times between 1970 and 2100 in eighths of a millisecond, which a double represents exactly. */
const time = fc.integer({ min: 0, max: 8 * 4.1e12 }).map((eighths) => eighths / 8);
const endedSpan = fc
  .record({
    key: fc.constantFrom(...keysOf<SpanKey>(spans)),
    name: text,
    traceparent: traceparent.map((id) => id.replace(/..$/, '01')),
    parent: fc.option(traceparent, { nil: undefined }),
    isParentRemote: fc.boolean(),
    startMs: time,
    endMs: time,
    attributes: list,
    events: fc.array(
      fc.record({
        name: fc.constantFrom(...keysOf<SpanEventName>(spanEvents)),
        timeMs: time,
        attributes: list,
      }),
      { maxLength: 5 },
    ),
    droppedEvents: fc.nat(),
    links: fc.array(traceparent, { maxLength: 5 }),
    droppedLinks: fc.nat(),
    isFailed: fc.boolean(),
  })
  .map((span): EndedSpan => ({ ...span, isParentRemote: span.parent !== undefined && span.isParentRemote }));
const resource = fc.dictionary(fc.string({ minLength: 1, maxLength: 255 }), text, { noNullPrototype: true });

/** Compares requests of an encoder with those of the SDK for the same spans. */
function compare(
  createEncoder: (attributes: Readonly<Record<string, string>>) => SpanEncoder,
  assertEqual: (request: Uint8Array, spans: SdkSpan[]) => void,
): void {
  fc.assert(
    fc.property(
      resource,
      fc.array(fc.array(endedSpan, { minLength: 1, maxLength: 8 }), { maxLength: 3 }),
      (process, batches) => {
        const encoder = createEncoder(process);
        for (const batch of batches) {
          const sdkResource = { attributes: process } as unknown as SdkSpan['resource'];
          // The SDK orders scopes by their first span.
          batch.sort((a, b) => keys.indexOf(a.key) - keys.indexOf(b.key));
          for (const span of batch) encoder.add(span);
          assertEqual(
            encoder.take(),
            batch.map((span) => toSdk(span, sdkResource)),
          );
        }
      },
    ),
  );
}

describe('OTLP encoders', () => {
  it('encode protobuf as the SDK does, byte for byte', () => {
    compare(
      (attributes) => new ProtobufEncoder(attributes),
      (request, batch) =>
        assert.ok(Buffer.from(ProtobufTraceSerializer.serializeRequest(batch) ?? []).equals(request)),
    );
  });

  it('encode JSON as the SDK does', () => {
    const parse = (json: Uint8Array | undefined) => JSON.parse(Buffer.from(json ?? []).toString());
    compare(
      (attributes) => new JsonEncoder(attributes),
      (request, batch) =>
        assert.deepEqual(parse(request), parse(JsonTraceSerializer.serializeRequest(batch))),
    );
  });
});
