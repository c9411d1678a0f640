import type { AttributeName, AttributeValue, SpanEventName, SpanKey, SpanKindName } from './catalog.ts';
import { isSampled } from './traceparent.ts';

/** Attributes as two lists of the same length; each name occurs once. Lists cost less than an object to fill and to iterate. */
export class AttributeList {
  readonly names: AttributeName[] = [];
  readonly values: AttributeValue[] = [];
}

/** An event of a span. */
export interface EndedSpanEvent {
  readonly name: SpanEventName;
  /** Milliseconds since the epoch, with a fraction. */
  readonly timeMs: number;
  readonly attributes: AttributeList;
}

/** A span that is ready for export. */
export interface EndedSpan {
  readonly key: SpanKey;
  readonly name: string;
  /** `traceparent` of the span itself. */
  readonly traceparent: string;
  /** `traceparent` of the parent; undefined for the first span of a trace. */
  readonly parent: string | undefined;
  /** Whether the parent belongs to another process. */
  readonly isParentRemote: boolean;
  /** Milliseconds since the epoch, with a fraction. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: AttributeList;
  readonly events: readonly EndedSpanEvent[];
  readonly droppedEvents: number;
  /** `traceparent` values of linked spans. */
  readonly links: readonly string[];
  readonly droppedLinks: number;
  readonly isFailed: boolean;
}

/** Encodes spans for an export while they end, so that no export blocks the event loop for a whole batch. */
export interface SpanEncoder {
  readonly contentType: string;
  add(span: EndedSpan): void;
  /** Returns the request with all spans since the last call. */
  take(): Uint8Array;
}

/** `SpanKind` of OTLP. */
export const kindNumbers: Readonly<Record<SpanKindName, number>> = {
  internal: 1,
  server: 2,
  client: 3,
  producer: 4,
  consumer: 5,
};

/** Bits of `flags` in OTLP: whether `isRemote` is known, and whether the parent or the linked span belongs to another process. */
const hasIsRemote = 0x100;
const isRemote = 0x200;

/** Returns `flags` of a span, which is always sampled. */
export function flagsOf({ isParentRemote }: EndedSpan): number {
  return hasIsRemote | (isParentRemote ? isRemote : 0) | 1;
}

/** Returns `flags` of a link. */
export function linkFlagsOf(traceparent: string): number {
  return hasIsRemote | isRemote | (isSampled(traceparent) ? 1 : 0);
}

/** Returns `code` of a span's status: unset, or an error. */
export function statusCodeOf({ isFailed }: EndedSpan): number {
  return isFailed ? 2 : 0;
}

/** Returns whether a number is encoded as an integer; other numbers, including negative ones, are encoded as doubles. */
export function isNatural(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
