import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { reasonOf, type Upstream } from '@zerda/chassis/http-client/upstream';
import { currentContext, runInContext } from '@zerda/chassis/request-context';
import type { DegradedPart } from '@zerda/contracts/gateway';
import { toFailure } from '../upstream-failure.ts';

/** Asks one upstream for one part of an aggregate. */
export type Ask<Part> = () => Promise<Part>;

type Asks = Readonly<Record<string, Ask<unknown>>>;

/** Of asks that are not given. */
type NoParts = Readonly<Record<never, Ask<unknown>>>;

type Values<Parts extends Asks> = { [Name in keyof Parts]: Awaited<ReturnType<Parts[Name]>> };

export interface Parts<Required extends Asks, Optional extends Asks> {
  /** Without these there is no answer. */
  readonly required?: Required;
  /** Without these the answer is degraded. */
  readonly optional?: Optional;
}

export interface Gathered<Required extends Asks, Optional extends Asks> {
  readonly required: Values<Required>;
  /** Null where the part could not be had. */
  readonly optional: { [Name in keyof Optional]: Values<Optional>[Name] | null };
  /** The parts that are missing, with the reason; undefined when none is. */
  readonly degraded: DegradedPart[] | undefined;
}

/**
 * Asks for all parts at once, under one deadline a little before that of the request, so that an answer without a
 * slow part still comes in time.
 * @throws Failure of the first required part that fails
 */
export async function gather<Required extends Asks = NoParts, Optional extends Asks = NoParts>(
  parts: Parts<Required, Optional>,
): Promise<Gathered<Required, Optional>> {
  const [required, optional] = await beforeDeadline(() =>
    Promise.all([askRequired(parts.required ?? {}), askOptional(parts.optional ?? {})]),
  );
  const degraded = optional.flatMap(({ missing }) => (missing === undefined ? [] : [missing]));
  return {
    required: Object.fromEntries(required) as Values<Required>,
    optional: Object.fromEntries(optional.map(({ part, value }) => [part, value])) as Gathered<
      Required,
      Optional
    >['optional'],
    degraded: degraded.length === 0 ? undefined : degraded,
  };
}

/** Reads the body of an answer as the contract has it. */
export async function read<Body extends object>(upstream: Upstream, path: string): Promise<Body> {
  const { data } = await upstream.get<Body>(path);
  if (typeof data === 'object' && data !== null && 'data' in data) return data;
  throw new Failure('upstream-failed', {
    detail: `${upstream.name} answered something else than its contract.`,
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

function askRequired(asks: Asks): Promise<[string, unknown][]> {
  return Promise.all(
    Object.entries(asks).map(async ([part, ask]): Promise<[string, unknown]> => {
      try {
        return [part, await ask()];
      } catch (error) {
        throw toFailure(error);
      }
    }),
  );
}

interface OptionalPart {
  readonly part: string;
  readonly value: unknown;
  readonly missing?: DegradedPart;
}

function askOptional(asks: Asks): Promise<OptionalPart[]> {
  return Promise.all(
    Object.entries(asks).map(async ([part, ask]): Promise<OptionalPart> => {
      try {
        return { part, value: await ask() };
      } catch (error) {
        return { part, value: null, missing: { part, reason: reasonOf(error) } };
      }
    }),
  );
}
