import { logFields } from '../../packages/chassis/src/logging/catalog.ts';
import type { History } from './find-history.ts';
import type { LogLine, TraceSpan } from './model.ts';

/** Formats log lines in time order, then each trace as a tree. The text contains no control characters except line ends. */
export function formatHistory({ lines, spans }: Pick<History, 'lines' | 'spans'>): string {
  const traces = [...groupBy(spans, ({ traceId }) => traceId).values()].sort(
    (one, other) => startOf(one) - startOf(other),
  );
  const sections = [
    ...(lines.length > 0 ? [formatLines(lines)] : []),
    ...traces.map((trace) => formatTrace(trace, spans)),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** Control characters, and characters that change the direction of text: log text must not control the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it finds them.
const controls = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Replaces control characters with their escapes, such as `\u001b`. */
function withoutControls(text: string): string {
  return text.replaceAll(
    controls,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Fields that all lines of a history share, or that are shown on lines of their own. */
const omittedFields = new Set(['correlation_id', 'trace_id', 'span_id']);

/** Order of fields in lines: that of the catalog. Fields of collectors come last. */
const ranks = new Map<string, number>(Object.keys(logFields).map((name, index) => [name, index]));

function rankOf(field: string): number {
  return ranks.get(field.split('.', 1)[0] ?? '') ?? ranks.size;
}

function formatLines(lines: readonly LogLine[]): string {
  const width = Math.max(...lines.map(({ service }) => service.length));
  return lines
    .flatMap(({ time, service, level, message, fields }) => {
      const shown = Object.entries(fields)
        .filter(([name]) => !omittedFields.has(name) && !name.endsWith('.stack'))
        .sort(([one], [other]) => rankOf(one) - rankOf(other));
      const head = [time, service.padEnd(width), level.padEnd(5), message, ...shown.map(formatField)];
      const stacks = Object.entries(fields).filter(([name]) => name.endsWith('.stack'));
      return [
        withoutControls(head.join('  ')),
        ...stacks.flatMap(([, stack]) => stack.split('\n').map((line) => `    ${withoutControls(line)}`)),
      ];
    })
    .join('\n');
}

function formatField([name, value]: [string, string]): string {
  return `${name}=${/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`;
}

function formatTrace(trace: readonly TraceSpan[], all: readonly TraceSpan[]): string {
  const ids = new Set(trace.map(({ spanId }) => spanId));
  const children = groupBy(trace, ({ parentSpanId }) =>
    parentSpanId !== undefined && ids.has(parentSpanId) ? parentSpanId : '',
  );
  const rows: { service: string; name: string; span: TraceSpan }[] = [];
  const addChildren = (parent: string, depth: number): void => {
    const sorted = [...(children.get(parent) ?? [])].sort((one, other) => one.startUs - other.startUs);
    for (const span of sorted) {
      rows.push({ service: span.service, name: `${'  '.repeat(depth)}${span.name}`, span });
      addChildren(span.spanId, depth + 1);
    }
  };
  addChildren('', 0);
  const width = (values: readonly string[]): number => Math.max(...values.map((value) => value.length));
  const serviceWidth = width(rows.map(({ service }) => service));
  const nameWidth = width(rows.map(({ name }) => name));
  const [first] = trace;
  return [
    `trace ${first?.traceId}: ${trace.length} ${trace.length === 1 ? 'span' : 'spans'}`,
    ...rows.map(({ service, name, span }) =>
      [
        service.padEnd(serviceWidth),
        name.padEnd(nameWidth),
        `${(span.durationUs / 1000).toFixed(1)} ms`.padStart(10),
        ...(span.error === undefined ? [] : [`error=${span.error}`]),
        ...span.links.map((link) => `link=${formatLink(link, all)}`),
      ].join('  '),
    ),
  ]
    .map(withoutControls)
    .join('\n');
}

/** Returns the name of a linked span, or its ids if its trace was not found. */
function formatLink({ traceId, spanId }: TraceSpan['links'][number], all: readonly TraceSpan[]): string {
  const target = all.find((span) => span.traceId === traceId && span.spanId === spanId);
  return target === undefined ? `${traceId}/${spanId}` : JSON.stringify(target.name);
}

function startOf(trace: readonly TraceSpan[]): number {
  return Math.min(...trace.map(({ startUs }) => startUs));
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
