import {
  type AttributeName,
  type AttributeValue,
  attributes as catalog,
  type SpanKey,
  spans,
} from './catalog.ts';
import {
  type AttributeList,
  type EndedSpan,
  type EndedSpanEvent,
  flagsOf,
  isNatural,
  kindNumbers,
  linkFlagsOf,
  type SpanEncoder,
  statusCodeOf,
} from './ended-span.ts';

/**
 * Encodes spans as OTLP protobuf (opentelemetry/proto/trace/v1/trace.proto), in the bytes of the SDK's serializer, which tests compare it
 * with. It replaces that serializer because that one took a third of the cost of tracing
 * (docs/decisions/0026-spans-without-instrumentation.md).
 */
export class ProtobufEncoder implements SpanEncoder {
  readonly contentType = 'application/x-protobuf';
  readonly #resource: Uint8Array;
  readonly #scopes: Readonly<Record<SpanKey, ScopeSpans>>;

  constructor(resource: Readonly<Record<string, string>>) {
    this.#resource = encodeResource(resource);
    this.#scopes = Object.fromEntries(keysOfSpans.map((key) => [key, createScope(key)])) as Record<
      SpanKey,
      ScopeSpans
    >;
  }

  add(span: EndedSpan): void {
    const scope = this.#scopes[span.key];
    encodeSpan(scope.spans, scope.kind, span);
  }

  take(): Uint8Array {
    const scopes = keysOfSpans.map((key) => this.#scopes[key]).filter((scope) => scope.spans.length > 0);
    const size = scopes.reduce((total, { head, spans }) => {
      const length = head.length + spans.length;
      return total + 1 + sizeOfVarint(length) + length;
    }, this.#resource.length);
    const request = new Writer(1 + sizeOfVarint(size) + size);
    request.tag(field.requestResourceSpans);
    request.varint(size);
    request.bytes(this.#resource, this.#resource.length);
    for (const { head, spans } of scopes) {
      request.tag(field.resourceScopeSpans);
      request.varint(head.length + spans.length);
      request.bytes(head, head.length);
      request.bytes(spans.buffer, spans.length);
      spans.length = 0;
    }
    return request.buffer;
  }
}

/** The spans of a scope that wait for the next request. */
interface ScopeSpans {
  /** The message `ScopeSpans` up to its spans. */
  readonly head: Uint8Array;
  readonly kind: number;
  readonly spans: Writer;
}

const keysOfSpans = Object.keys(spans) as SpanKey[];

function createScope(key: SpanKey): ScopeSpans {
  return { head: encodeScope(key), kind: kindNumbers[spans[key].kind], spans: new Writer(1024) };
}

/** Tags: the number of the field times 8, plus the wire type (0 varint, 1 fixed64, 2 length-delimited, 5 fixed32). */
const field = {
  requestResourceSpans: (1 << 3) | 2,
  resourceScopeSpans: (2 << 3) | 2,
  scopeSpans: (2 << 3) | 2,
  traceId: (1 << 3) | 2,
  spanId: (2 << 3) | 2,
  parentSpanId: (4 << 3) | 2,
  name: (5 << 3) | 2,
  kind: (6 << 3) | 0,
  startTime: (7 << 3) | 1,
  endTime: (8 << 3) | 1,
  attributes: (9 << 3) | 2,
  droppedAttributes: (10 << 3) | 0,
  events: (11 << 3) | 2,
  droppedEvents: (12 << 3) | 0,
  links: (13 << 3) | 2,
  droppedLinks: (14 << 3) | 0,
  status: (15 << 3) | 2,
  /** Two bytes: the number of the field is 16. */
  flags: (16 << 3) | 5,
  eventTime: (1 << 3) | 1,
  eventName: (2 << 3) | 2,
  eventAttributes: (3 << 3) | 2,
  eventDroppedAttributes: (4 << 3) | 0,
  linkDroppedAttributes: (5 << 3) | 0,
  linkFlags: (6 << 3) | 5,
  statusCode: (3 << 3) | 0,
  stringValue: (1 << 3) | 2,
  boolValue: (2 << 3) | 0,
  intValue: (3 << 3) | 0,
  doubleValue: (4 << 3) | 1,
} as const;

function encodeSpan(writer: Writer, kind: number, span: EndedSpan): void {
  const { traceparent, parent, name, attributes, events, links } = span;
  writer.tag(field.scopeSpans);
  const start = writer.begin();
  encodeIds(writer, traceparent);
  if (parent !== undefined) {
    writer.tag(field.parentSpanId);
    writer.hex(parent, 36, 52);
  }
  writer.tag(field.name);
  writer.string(name);
  writer.tag(field.kind);
  writer.varint(kind);
  writer.tag(field.startTime);
  writer.time(span.startMs);
  writer.tag(field.endTime);
  writer.time(span.endMs);
  encodeAttributes(writer, field.attributes, attributes);
  writer.tag(field.droppedAttributes);
  writer.varint(0);
  for (const event of events) encodeEvent(writer, event);
  writer.tag(field.droppedEvents);
  writer.varint(span.droppedEvents);
  for (const link of links) encodeLink(writer, link);
  writer.tag(field.droppedLinks);
  writer.varint(span.droppedLinks);
  writer.tag(field.status);
  writer.varint(2);
  writer.tag(field.statusCode);
  writer.varint(statusCodeOf(span));
  writer.varint(field.flags);
  writer.fixed32(flagsOf(span));
  writer.end(start);
}

/** Encodes the ids of a span or of a link, which have the same fields. */
function encodeIds(writer: Writer, traceparent: string): void {
  writer.tag(field.traceId);
  writer.hex(traceparent, 3, 35);
  writer.tag(field.spanId);
  writer.hex(traceparent, 36, 52);
}

function encodeEvent(writer: Writer, { name, timeMs, attributes }: EndedSpanEvent): void {
  writer.tag(field.events);
  const start = writer.begin();
  writer.tag(field.eventTime);
  writer.time(timeMs);
  writer.tag(field.eventName);
  writer.string(name);
  encodeAttributes(writer, field.eventAttributes, attributes);
  writer.tag(field.eventDroppedAttributes);
  writer.varint(0);
  writer.end(start);
}

function encodeLink(writer: Writer, traceparent: string): void {
  writer.tag(field.links);
  const start = writer.begin();
  encodeIds(writer, traceparent);
  writer.tag(field.linkDroppedAttributes);
  writer.varint(0);
  writer.tag(field.linkFlags);
  writer.fixed32(linkFlagsOf(traceparent));
  writer.end(start);
}

function encodeAttributes(writer: Writer, tag: number, { names, values }: AttributeList): void {
  for (let index = 0; index < names.length; index += 1) {
    const key = keys.get(names[index] as AttributeName) as Uint8Array;
    writer.attribute(tag, key, values[index] as AttributeValue);
  }
}

/** Returns the message `KeyValue` up to the length of its value. */
function encodeKey(name: string): Uint8Array {
  const writer = new Writer(64);
  writer.tag((1 << 3) | 2);
  writer.string(name);
  writer.tag((2 << 3) | 2);
  return writer.buffer.subarray(0, writer.length);
}

/** Returns the field `resource` of `ResourceSpans`. */
function encodeResource(resource: Readonly<Record<string, string>>): Uint8Array {
  const writer = new Writer(1024);
  writer.tag((1 << 3) | 2);
  const start = writer.begin();
  for (const [name, value] of Object.entries(resource))
    writer.attribute((1 << 3) | 2, encodeKey(name), value);
  writer.tag((2 << 3) | 0);
  writer.varint(0);
  writer.end(start);
  return writer.buffer.subarray(0, writer.length);
}

/** Returns the field `scope` of `ScopeSpans`. */
function encodeScope(key: SpanKey): Uint8Array {
  const writer = new Writer(64);
  writer.tag((1 << 3) | 2);
  const start = writer.begin();
  writer.tag((1 << 3) | 2);
  writer.string(`zerda.${key}`);
  writer.end(start);
  return writer.buffer.subarray(0, writer.length);
}

function sizeOfVarint(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size += 1;
  return size;
}

/** Strings up to this length are copied character by character, which is faster than a call into Node. */
const maxCopied = 64;

/** Bytes of a varint of 64 bits, the longest one. */
const maxVarint = 10;

/** Writes the fields of protobuf messages into a buffer that grows. */
class Writer {
  buffer: Buffer;
  /** Number of written bytes. */
  length = 0;

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacity);
  }

  /** Writes a tag below 128. */
  tag(tag: number): void {
    this.#reserve(1);
    this.buffer[this.length++] = tag;
  }

  varint(value: number): void {
    this.#reserve(maxVarint);
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.length++] = rest;
  }

  fixed32(value: number): void {
    this.#reserve(4);
    this.length = this.buffer.writeUInt32LE(value, this.length);
  }

  bytes(bytes: Uint8Array, length: number): void {
    this.#reserve(length);
    this.buffer.set(length === bytes.length ? bytes : bytes.subarray(0, length), this.length);
    this.length += length;
  }

  /** Starts a message whose length is not known. Most spans are longer than 127 bytes, so that two bytes are reserved for it. */
  begin(): number {
    this.#reserve(2);
    this.length += 2;
    return this.length;
  }

  /** Ends a message and writes its length. @param start result of `begin` */
  end(start: number): void {
    this.#reserve(maxVarint);
    const size = this.length - start;
    const lengthSize = sizeOfVarint(size);
    if (lengthSize !== 2) this.buffer.copyWithin(start - 2 + lengthSize, start, this.length);
    this.length = start - 2;
    this.varint(size);
    this.length += size;
  }

  /** Writes hexadecimal digits of a string as bytes with their length. */
  hex(text: string, from: number, to: number): void {
    const count = (to - from) / 2;
    this.#reserve(1 + count);
    const { buffer } = this;
    buffer[this.length++] = count;
    for (let index = from; index < to; index += 2)
      buffer[this.length++] = (digit(text, index) << 4) | digit(text, index + 1);
  }

  /** Writes a string with its length. */
  string(value: string): void {
    this.#reserve(maxVarint + value.length * 3);
    if (value.length <= maxCopied) {
      this.buffer[this.length] = value.length;
      if (this.#copy(value, this.length + 1)) {
        this.length += 1 + value.length;
        return;
      }
    }
    this.varint(Buffer.byteLength(value));
    this.length += this.buffer.write(value, this.length);
  }

  /** Writes an attribute. @param key the message `KeyValue` up to the length of its value */
  attribute(tag: number, key: Uint8Array, value: AttributeValue): void {
    if (typeof value === 'string') this.#stringAttribute(tag, key, value);
    else if (typeof value === 'boolean') {
      this.#attributeHead(tag, key, 2);
      this.tag(field.boolValue);
      this.varint(value ? 1 : 0);
    } else if (isNatural(value)) {
      this.#attributeHead(tag, key, 1 + sizeOfVarint(value));
      this.tag(field.intValue);
      this.varint(value);
    } else {
      this.#attributeHead(tag, key, 9);
      this.tag(field.doubleValue);
      this.#reserve(8);
      this.length = this.buffer.writeDoubleLE(value, this.length);
    }
  }

  #stringAttribute(tag: number, key: Uint8Array, value: string): void {
    const { length } = value;
    // The short path: all lengths have one byte.
    if (length <= maxCopied && key.length + 3 + length < 0x80) {
      this.#reserve(5 + key.length + length);
      const { buffer } = this;
      const position = this.length;
      let at = position;
      buffer[at++] = tag;
      buffer[at++] = key.length + 3 + length;
      for (let index = 0; index < key.length; index += 1) buffer[at++] = key[index] as number;
      buffer[at++] = 2 + length;
      buffer[at++] = field.stringValue;
      buffer[at++] = length;
      if (this.#copy(value, at)) {
        this.length = at + length;
        return;
      }
    }
    const size = Buffer.byteLength(value);
    this.#attributeHead(tag, key, 1 + sizeOfVarint(size) + size);
    this.tag(field.stringValue);
    this.string(value);
  }

  /** Writes the message `KeyValue` up to its value, which has `size` bytes. */
  #attributeHead(tag: number, key: Uint8Array, size: number): void {
    this.tag(tag);
    this.varint(key.length + sizeOfVarint(size) + size);
    this.bytes(key, key.length);
    this.varint(size);
  }

  /** Writes a time in nanoseconds. @param ms milliseconds since the epoch, with a fraction */
  time(ms: number): void {
    this.#reserve(8);
    const whole = Math.floor(ms);
    // Doubles have 53 bits and nanoseconds 61, so the upper and the lower bits are computed separately.
    const upper = Math.floor(whole / 0x100000) * 1e6;
    const lower = (upper % 0x1000) * 0x100000 + (whole % 0x100000) * 1e6 + Math.round((ms - whole) * 1e6);
    this.buffer.writeUInt32LE(lower % 0x100000000, this.length);
    this.buffer.writeUInt32LE(Math.floor(upper / 0x1000) + Math.floor(lower / 0x100000000), this.length + 4);
    this.length += 8;
  }

  /** Copies a string to a position without changing the length. Returns false if it has characters beyond ASCII. */
  #copy(value: string, position: number): boolean {
    const { buffer } = this;
    for (let index = 0; index < value.length; index += 1) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) return false;
      buffer[position + index] = code;
    }
    return true;
  }

  #reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.buffer.length));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }
}

/** Returns the value of a hexadecimal digit. Without a branch: the digits are random. */
function digit(text: string, index: number): number {
  const code = text.charCodeAt(index);
  return (code & 0xf) + 9 * (code >> 6);
}

/** Encoded names of attributes. */
const keys: ReadonlyMap<string, Uint8Array> = new Map(
  Object.keys(catalog).map((name) => [name, encodeKey(name)]),
);
