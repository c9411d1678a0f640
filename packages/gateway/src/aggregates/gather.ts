import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import { inSpan } from '@zerda/chassis/tracing/in-span';
import type { Span } from '@zerda/chassis/tracing/span';
import type { DegradedPart } from '@zerda/contracts/gateway/operations';
import { reasonOf } from '@zerda/upstream/call-outcome';
import { isAxiosError } from 'axios';
import { toFailure } from '../upstreams/upstream-failure.ts';
import type { JsonText } from './json-text.ts';
import type { PartContent } from './read-cached-json.ts';

/** A request for one part of an aggregate. */
export interface PartRequest {
  readonly name: string;
  /** Whether the aggregate fails without this part. */
  readonly required: boolean;
  /** Statuses of the upstream that are passed on even without a problem type of this API. */
  readonly passedStatuses: readonly number[];
  readonly fetch: () => Promise<PartContent>;
}

/** Response bodies by part name. */
export type PartResponses = ReadonlyMap<string, JsonText>;

export interface GatheredParts {
  readonly responses: PartResponses;
  /** Parts that are missing or stale, with the reason; empty if the response is complete. */
  readonly degraded: readonly DegradedPart[];
}

/**
 * Fetches all parts in parallel. Their deadline is slightly before that of the request, so that a response without a slow part is still in
 * time.
 * @throws Failure of the first required part that fails, and `upstream-unavailable` if all parts fail
 */
export async function gather(requests: readonly PartRequest[]): Promise<GatheredParts> {
  const responses = new Map<string, JsonText>();
  async function fetchPart(
    { name, required, passedStatuses, fetch }: PartRequest,
    span: Span | undefined,
  ): Promise<DegradedPart | undefined> {
    try {
      const { content, stale } = await fetch();
      responses.set(name, content);
      if (stale !== undefined) span?.set({ 'zerda.part.reason': stale.reason });
      return stale && { part: name, reason: stale.reason, stale_seconds: stale.seconds };
    } catch (error) {
      span?.set({ 'zerda.part.reason': reasonOf(error) });
      span?.fail(error);
      if (required) throw toFailure(error, passedStatuses);
      return degradedPart(name, error);
    }
  }
  const fetchInSpan = (request: PartRequest) =>
    inSpan(
      'part',
      () => ({
        name: `part ${request.name}`,
        attributes: { 'zerda.part.name': request.name, 'zerda.part.required': request.required },
      }),
      (span) => fetchPart(request, span),
    );
  // In the configured order, not in the order of arrival.
  const outcomes = await withPartsDeadline(() => Promise.all(requests.map(fetchInSpan)));
  const degraded = outcomes.filter((outcome) => outcome !== undefined);
  if (responses.size > 0) return { responses, degraded };
  const reasons = degraded.map(({ part, reason }) => `${part}: ${reason}`).join(', ');
  throw new Failure('upstream-unavailable', {
    detail: `All parts of the response failed (${reasons}).`,
    retryAfterSeconds: 1,
  });
}

/** Share of the request's remaining time that parts get. */
const partsShare = 0.95;

function withPartsDeadline<T>(work: () => Promise<T>): Promise<T> {
  const context = currentContext();
  if (context === undefined) return work();
  const deadline = Deadline.after(context.deadline.remainingMs() * partsShare);
  return runInContext({ ...context, deadline }, work);
}

function degradedPart(part: string, error: unknown): DegradedPart {
  const status = isAxiosError(error) ? error.response?.status : undefined;
  return { part, reason: reasonOf(error), ...(status !== undefined && { status }) };
}
