import { currentContext, type RequestContext, runInContext } from '../request-context.ts';
import type { SpanKey } from './catalog.ts';
import type { Span, SpanOptions } from './span.ts';

/** Returns the context of work inside a span: logs and calls then refer to this span. */
export function contextOf(span: Span, context: RequestContext): RequestContext {
  return { ...context, traceparent: span.traceparent, span };
}

/**
 * Runs `work` in a child span of the current span. Without one, because the request is not sampled or tracing is off, runs `work` alone.
 * @param start returns the options of the span; called only if it is recorded
 */
export function inSpan<T>(
  key: SpanKey,
  start: () => SpanOptions,
  work: (span?: Span) => Promise<T>,
  context: RequestContext | undefined = currentContext(),
): Promise<T> {
  const parent = context?.span;
  return context === undefined || parent === undefined
    ? work()
    : runInSpan(parent.startChild(key, start()), context, work);
}

/** Runs `work` in a span, which ends with it. */
export async function runInSpan<T>(
  span: Span,
  context: RequestContext,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  try {
    return await runInContext(contextOf(span, context), () => work(span));
  } catch (error) {
    span.fail(error);
    throw error;
  } finally {
    span.end();
  }
}
