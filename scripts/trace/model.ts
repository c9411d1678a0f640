/** One line of the log of a service. */
export interface LogLine {
  /** Time as in the line (RFC 3339, UTC). */
  readonly time: string;
  readonly service: string;
  readonly level: string;
  readonly message: string;
  /** All other fields of the line as text. Members of objects have their path as name, such as `err.type`. */
  readonly fields: Readonly<Record<string, string>>;
}

/** One span of a trace. */
export interface TraceSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined for the first span of a trace. */
  readonly parentSpanId?: string | undefined;
  readonly service: string;
  readonly name: string;
  /** Start in microseconds since 1970. */
  readonly startUs: number;
  /** Duration in microseconds. */
  readonly durationUs: number;
  /** `error.type` of a failed span, `error` if it has none; undefined if the span did not fail. */
  readonly error?: string | undefined;
  readonly correlationId?: string | undefined;
  /** Spans that this span links to. */
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
}

/** A store of log lines. */
export interface LogStore {
  /** Name for messages, with its place. */
  readonly name: string;
  /**
   * Returns lines whose `correlation_id` or `trace_id` is one of the ids, at most `maxLines`, in time order.
   * @throws StartupError if the store cannot be read
   */
  find(ids: readonly string[]): Promise<LogLine[]>;
}

/** A store of traces. */
export interface TraceStore {
  /** Name for messages, with its place. */
  readonly name: string;
  /**
   * Returns all spans of the traces with these ids, and of traces that contain a span with one of them as correlation id. A span may occur
   * more than once.
   * @throws StartupError if the store cannot be read
   */
  find(ids: readonly string[]): Promise<TraceSpan[]>;
}

/** Maximum number of lines that a search returns. */
export const maxLines = 10_000;

/** Maximum number of traces with one correlation id that a search returns. */
export const maxTraces = 100;

/** Returns the members of an object as text. Nested objects are flattened to paths, as log stores do. */
export function flatten(value: object, prefix = ''): Record<string, string> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): [string, string][] => {
      if (member === null || member === undefined) return [];
      if (typeof member === 'object' && !Array.isArray(member))
        return Object.entries(flatten(member, `${prefix}${name}.`));
      return [[`${prefix}${name}`, typeof member === 'string' ? member : JSON.stringify(member)]];
    }),
  );
}
