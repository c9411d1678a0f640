import { correlationIdPattern } from '../../packages/chassis/src/request-context.ts';
import { type LogLine, type LogStore, maxLines, type TraceSpan, type TraceStore } from './model.ts';

/** What a request and its events left in the stores. */
export interface History {
  /** In time order. */
  readonly lines: readonly LogLine[];
  readonly spans: readonly TraceSpan[];
  /** Whether the search stopped at a limit, so that lines or spans may be missing. */
  readonly isIncomplete: boolean;
}

/** Maximum number of ids that a search follows. A correlation id that a client uses for all its requests has any number of traces. */
const maxIds = 20;

/**
 * Finds the log lines and traces of a correlation id or trace id. The events of a request have their own traces, so the search follows
 * the correlation ids of the lines and spans that it finds, and the traces of those.
 * @throws StartupError if a store cannot be read
 */
export async function findHistory(
  id: string,
  { logs, traces }: { readonly logs: LogStore; readonly traces: TraceStore },
): Promise<History> {
  const [firstLines, firstSpans] = await Promise.all([logs.find([id]), traces.find([id])]);
  const related = [
    ...firstLines.flatMap(({ fields }) => fields.correlation_id ?? []),
    ...firstSpans.flatMap(({ correlationId }) => correlationId ?? []),
  ];
  // Other producers of events may use ids that a query would have to escape.
  const ids = new Set([id, ...related.filter((candidate) => correlationIdPattern.test(candidate))]);
  const followed = [...ids].slice(0, maxIds);
  const lines = followed.length === 1 ? firstLines : await logs.find(followed);
  const spans = new Map(firstSpans.map((span) => [keyOf(span), span]));
  const found = new Set(firstSpans.map(({ traceId }) => traceId));
  const more = new Set([...followed.slice(1), ...lines.flatMap(({ fields }) => fields.trace_id ?? [])]);
  const nextIds = [...more].filter((candidate) => !found.has(candidate));
  const nextSpans = nextIds.length === 0 ? [] : await traces.find(nextIds.slice(0, maxIds));
  for (const span of nextSpans) spans.set(keyOf(span), span);
  const isIncomplete = ids.size > maxIds || nextIds.length > maxIds || lines.length >= maxLines;
  return { lines, spans: [...spans.values()], isIncomplete };
}

function keyOf({ traceId, spanId }: TraceSpan): string {
  return `${traceId}-${spanId}`;
}
