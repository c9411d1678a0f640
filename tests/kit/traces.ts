import assert from 'node:assert/strict';
import type { ReceivedSpan } from '../../packages/chassis/testing/collector.ts';

/** One trace as a tree. */
export interface TraceTree {
  readonly root: ReceivedSpan;
  readonly spans: readonly ReceivedSpan[];
  /** Returns the only span with this name. @throws Error if there is none or more than one */
  find(name: string): ReceivedSpan;
  /** Returns the names of a span and its ancestors, from the root. */
  pathTo(span: ReceivedSpan): string[];
}

/** Returns a trace as a tree. @throws Error if the parent of a span is missing, or if there is not exactly one root */
export function treeOf(all: readonly ReceivedSpan[], traceId: string): TraceTree {
  const spans = all.filter((span) => span.traceId === traceId);
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined);
  const orphans = spans.filter(({ parentSpanId }) => parentSpanId !== undefined && !byId.has(parentSpanId));
  assert.deepEqual(
    orphans.map(({ name }) => name),
    [],
    'spans without their parent',
  );
  const [root] = roots;
  assert.ok(root !== undefined && roots.length === 1, `${roots.length} roots of ${spans.length} spans`);
  return {
    root,
    spans,
    find(name) {
      const [found, ...others] = spans.filter((span) => span.name === name);
      assert.ok(
        found !== undefined && others.length === 0,
        `${others.length + (found ? 1 : 0)} spans are named ${name}, of: ${spans.map((span) => span.name).join(', ')}`,
      );
      return found;
    },
    pathTo(span) {
      const names: string[] = [];
      for (let at: ReceivedSpan | undefined = span; at !== undefined; at = byId.get(at.parentSpanId ?? ''))
        names.unshift(`${at.service} ${at.name}`);
      return names;
    },
  };
}

/** Returns the spans that link to a span. */
export function linkedTo(all: readonly ReceivedSpan[], { traceId, spanId }: ReceivedSpan): ReceivedSpan[] {
  return all.filter(({ links }) => links.some((link) => link.traceId === traceId && link.spanId === spanId));
}
