import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { reasonOf } from '@zerda/chassis/http-client/call-outcome';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import type { DegradedPart } from '@zerda/contracts/gateway';
import { isAxiosError } from 'axios';
import { toFailure } from '../upstream-failure.ts';
import type { JsonText } from './json-text.ts';
import type { PartContent } from './read-kept.ts';

/** Asks for one part of an aggregate. */
export interface Ask {
  readonly name: string;
  /** Without it there is no answer. */
  readonly required: boolean;
  /** Statuses of its upstream that keep their meaning although they come without a problem of ours. */
  readonly keptStatuses: readonly number[];
  readonly ask: () => Promise<PartContent>;
}

/** What was answered, by the name of the part. */
export type PartAnswers = ReadonlyMap<string, JsonText>;

export interface Gathered {
  readonly answers: PartAnswers;
  /** The parts that could not be had, or only as they were, with the reason; empty when the answer is whole. */
  readonly degraded: readonly DegradedPart[];
}

/**
 * Asks for all parts at once, under one deadline a little before that of the request, so that an answer without a
 * slow part still comes in time.
 * @throws Failure of the first required part that fails, and `upstream-unavailable` when no part can be had
 */
export async function gather(asks: readonly Ask[]): Promise<Gathered> {
  const answers = new Map<string, JsonText>();
  async function askFor({ name, required, keptStatuses, ask }: Ask): Promise<DegradedPart | undefined> {
    try {
      const { content, stale } = await ask();
      answers.set(name, content);
      return stale && { part: name, reason: stale.reason, stale_seconds: stale.seconds };
    } catch (error) {
      if (required) throw toFailure(error, keptStatuses);
      return missing(name, error);
    }
  }
  // In the order of the table, whichever comes first.
  const outcomes = await beforeDeadline(() => Promise.all(asks.map(askFor)));
  const degraded = outcomes.filter((outcome) => outcome !== undefined);
  if (answers.size > 0) return { answers, degraded };
  const reasons = degraded.map(({ part, reason }) => `${part}: ${reason}`).join(', ');
  throw new Failure('upstream-unavailable', {
    detail: `No part of the answer could be had (${reasons}).`,
    headers: { 'Retry-After': '1' },
  });
}

/** The share of the time left that parts are given. */
const partsShare = 0.95;

function beforeDeadline<T>(work: () => Promise<T>): Promise<T> {
  const context = currentContext();
  if (context === undefined) return work();
  const deadline = Deadline.after(context.deadline.remainingMs() * partsShare);
  return runInContext({ ...context, deadline }, work);
}

function missing(part: string, error: unknown): DegradedPart {
  const status = isAxiosError(error) ? error.response?.status : undefined;
  return { part, reason: reasonOf(error), ...(status !== undefined && { status }) };
}
