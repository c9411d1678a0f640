import { hash } from 'node:crypto';
import type { CacheOutcome, PolicyMetrics } from '@zerda/chassis/metrics/policy-metrics';
import { LRUCache } from 'lru-cache';
import { namesOf, valuesOf, without } from '../header-pairs.ts';
import type { SentHeaders } from './cached-request.ts';
import { type CacheSettings, initialAgeOf, lifetimeOf, validatorsOf, varyOf } from './freshness.ts';
import { heldFor, type KeptAnswer, sizeOf, type WholeAnswer } from './kept-answer.ts';

/** A question that the cache may have the answer to. */
export interface Question {
  /** Name of the upstream. */
  readonly upstream: string;
  /** Path and query as they go to it. */
  readonly target: string;
  /** Caller whose response it is; undefined for an anonymous caller. */
  readonly owner: string | undefined;
  /** Headers of the client that the upstream gets. */
  readonly sent: SentHeaders;
  readonly settings: CacheSettings;
  /**
   * Asks the upstream, for all who wait for this answer, whoever of them goes away.
   * @param conditions that hold when the answer that is kept no longer does: name, value, name, value
   * @throws TooLargeError, and what calls to upstreams throw
   */
  ask(conditions: readonly string[]): Promise<WholeAnswer>;
}

/** What the cache says. */
export interface Found {
  readonly outcome: Exclude<CacheOutcome, 'bypass'>;
  readonly answer: WholeAnswer;
  /** Milliseconds since the answer was made, as far as that is known (RFC 9111, section 4.2.3). */
  readonly ageMs: number;
  /** Why there is none that is newer, when an old one had to do. */
  readonly failure?: unknown;
}

/** Answers of upstreams, kept for those who asked. */
export interface AnswerCache {
  /** The answer when it is kept and fresh. */
  find(question: Question): Found | undefined;
  /**
   * The answer, kept or asked for; undefined when it is not one to be kept, and whoever wants it has to ask.
   * @throws what calls to upstreams throw, when there is nothing that could be shown instead
   */
  fetch(question: Question): Promise<Found | undefined>;
  /** Makes all answers of an upstream, and those that are on their way, such as nobody finds any more. */
  raise(upstream: string): void;
}

/** The answer is larger than one that is kept may be. */
export class TooLargeError extends Error {}

/** An answer that is not kept: whoever asked for it gets it; others who wait for it, only when the upstream has failed. */
class NotKeptError extends Error {
  readonly question: Question;
  readonly answer: WholeAnswer;

  constructor(question: Question, answer: WholeAnswer) {
    super(`an answer with status ${answer.status} is not kept`);
    this.question = question;
    this.answer = answer;
  }
}

/** Milliseconds in which a question whose answer was not one to be kept is not kept waiting for another. */
const passMs = 10_000;
/** Questions that are remembered beside their answers, of each kind. */
const rememberedQuestions = 10_000;

/**
 * A cache of `maxBytes`. What is on its way is asked for once, whoever else wants it meanwhile; nobody's going away ends
 * it. An upstream's generation is part of every key.
 */
export function createAnswerCache(maxBytes: number, metrics: Pick<PolicyMetrics, 'cache'>): AnswerCache {
  const generations = new Map<string, number>();
  /** Names of the headers that the answer to a question was last seen to vary by. */
  const varies = new LRUCache<string, readonly string[]>({ max: rememberedQuestions });
  const passed = new LRUCache<string, true>({ max: rememberedQuestions, ttl: passMs });
  const answers = new LRUCache<string, KeptAnswer, Question>({
    maxSize: maxBytes,
    sizeCalculation: sizeOf,
    // Beyond their freshness, answers are here for whoever may have them: `fetch` below decides.
    noDeleteOnFetchRejection: true,
    noDeleteOnStaleGet: true,
    // What has to make room for something else meanwhile still gets its answer.
    ignoreFetchAbort: true,
    fetchMethod: async (key, old, { context: question, options }) => {
      const askedAt = performance.now();
      const earlier = old !== undefined && fits(old, question) ? old : undefined;
      const answer = await ask(question, earlier).catch((error) => {
        if (error instanceof TooLargeError) passed.set(nameOf(question), true);
        throw error;
      });
      const kept = isWorse(answer, earlier) ? undefined : keep(question, answer, askedAt);
      if (kept === undefined) {
        if (answer.status === 200) passed.set(nameOf(question), true);
        // What the upstream says now is not what it said then, unless it has failed.
        if (answer.status < 500) answers.delete(key);
        throw new NotKeptError(question, answer);
      }
      if (kept.vary.length > 0)
        varies.set(
          nameOf(question),
          kept.vary.map(([name]) => name),
        );
      options.ttl = freshFor(kept);
      return kept;
    },
  });
  metrics.cache(() => ({ entries: answers.size, bytes: answers.calculatedSize }));

  const generationOf = ({ upstream }: Question): number => generations.get(upstream) ?? 0;

  function keyOf(question: Question, generation: number): string {
    const name = nameOf(question);
    const names = varies.get(name);
    const values =
      names === undefined ? '' : compact(JSON.stringify(names.map((header) => sentValue(question, header))));
    return `${generation} ${values} ${name}`;
  }

  function find(question: Question): Found | undefined {
    const kept = answers.get(keyOf(question, generationOf(question)), { allowStale: true });
    if (kept === undefined || !fits(kept, question)) return undefined;
    const heldMs = heldFor(kept);
    return heldMs < kept.freshMs
      ? { outcome: 'hit', answer: kept, ageMs: kept.initialAgeMs + heldMs }
      : undefined;
  }

  async function fetch(question: Question): Promise<Found | undefined> {
    if (passed.has(nameOf(question))) return undefined;
    const generation = generationOf(question);
    const key = keyOf(question, generation);
    const old = answers.peek(key, { allowStale: true });
    const kept = old !== undefined && fits(old, question) ? old : undefined;
    const status: LRUCache.Status<string, KeptAnswer, Question> = {};
    try {
      const answer = await answers.fetch(key, {
        context: question,
        status,
        allowStale: kept !== undefined && heldFor(kept) < kept.revalidateMs,
        // Its own time has no fraction of a millisecond.
        forceRefresh: old !== undefined && heldFor(old) >= old.freshMs,
      });
      if (answer === undefined) return undefined;
      const outcome = outcomeOf(status);
      // It was asked for before this question came (RFC 9111, section 4).
      if (outcome === 'coalesced' && answer.perUse) return undefined;
      const better = keyOf(question, generation);
      if (better !== key) {
        // What it varies by is known only now.
        if (!fits(answer, question)) return await fetch(question);
        answers.set(better, answer, { ttl: freshFor(answer) });
      }
      return { outcome, answer, ageMs: ageOf(answer) };
    } catch (error) {
      if (error instanceof TooLargeError) return undefined;
      return instead(question, kept, error);
    }
  }
  return {
    find,
    fetch,
    raise(upstream) {
      generations.set(upstream, (generations.get(upstream) ?? 0) + 1);
    },
  };
}

/** What is said when no new answer could be had that could be kept. */
function instead(question: Question, kept: KeptAnswer | undefined, error: unknown): Found | undefined {
  const answered = error instanceof NotKeptError ? error : undefined;
  if (answered === undefined || answered.answer.status >= 500) {
    if (kept !== undefined && heldFor(kept) < kept.errorMs)
      return { outcome: 'stale', answer: kept, ageMs: ageOf(kept), failure: error };
    if (answered === undefined) throw error;
  } else if (answered.question !== question) return undefined;
  const outcome = answered.question === question ? 'miss' : 'coalesced';
  return { outcome, answer: answered.answer, ageMs: initialAgeOf(answered.answer.headers) };
}

/** Whether an answer says that the upstream has failed while an earlier one may stand for it. */
function isWorse({ status }: WholeAnswer, earlier: KeptAnswer | undefined): boolean {
  return status >= 500 && earlier !== undefined && heldFor(earlier) < earlier.errorMs;
}

/** The part of the key that is known before the response is: the target, the caller and the keyed headers. */
function nameOf({ upstream, target, owner, sent }: Question): string {
  return compact(JSON.stringify([upstream, target, owner ?? null, sent.keyed]));
}

/** Characters of a key that are kept as they are: clients decide how long a target and its headers are. */
const longestText = 256;

/** The text, or its digest when it is long. A text of JSON begins with a bracket, a digest never does. */
function compact(text: string): string {
  return text.length <= longestText ? text : hash('sha256', text, 'base64');
}

/** Headers of negotiation whose values mean the same in either case (RFC 9110, sections 8.4.1 and 8.5.1). */
const caseless: ReadonlySet<string> = new Set(['accept-encoding', 'accept-language']);

/**
 * What the upstream gets in a header, spelled as all values of that meaning are (RFC 9111, section 4.1); null when it gets none, whatever
 * the client sent. Order is kept: services read it as preference.
 */
function sentValue({ sent }: Question, name: string): string | null {
  const values = valuesOf(sent.pairs, name);
  if (values.length === 0) return null;
  const joined = values.join(',');
  if (joined.includes('"')) return joined;
  const spaced = joined.replace(/[ \t]*,[ \t]*/g, ',').trim();
  return caseless.has(name) ? spaced.toLowerCase() : spaced;
}

/** The answer as it is kept; undefined when it is not one to be kept. */
function keep(question: Question, answer: WholeAnswer, askedAt: number): KeptAnswer | undefined {
  const lifetime = lifetimeOf(answer, question.settings, question.owner !== undefined);
  if (lifetime === undefined) return undefined;
  const vary = varyOf(answer.headers).map((name) => [name, sentValue(question, name)] as const);
  return { ...answer, headers: dated(answer.headers), ...lifetime, vary, askedAt };
}

/** Headers with the time at which they came as their date, unless they have one (RFC 9110, section 6.6.1). */
function dated(headers: readonly string[]): readonly string[] {
  return valuesOf(headers, 'date').length > 0 ? headers : [...headers, 'Date', new Date().toUTCString()];
}

/** Whether an answer is for requests such as this one too. */
function fits({ vary }: KeptAnswer, question: Question): boolean {
  return vary.every(([name, value]) => sentValue(question, name) === value);
}

/** Milliseconds since it was made. */
function ageOf(kept: KeptAnswer): number {
  return kept.initialAgeMs + heldFor(kept);
}

/** Milliseconds that it stays fresh; above zero, which would be for ever. */
function freshFor(kept: KeptAnswer): number {
  return Math.max(1, kept.freshMs - heldFor(kept));
}

function outcomeOf({
  fetch,
  returnedStale,
}: LRUCache.Status<string, KeptAnswer, Question>): Found['outcome'] {
  if (returnedStale) return 'stale';
  if (fetch === 'hit') return 'hit';
  return fetch === 'inflight' ? 'coalesced' : 'miss';
}

/**
 * Headers that describe the body or name it. Those of a 304 are about a body that it does not have: the stored ones stay (RFC 9111, section
 * 3.2).
 */
const ofBody: ReadonlySet<string> = new Set([
  ...['content-encoding', 'content-length', 'content-md5', 'content-range', 'etag'],
]);

/** Asks for an answer, or whether the one that is kept still holds (RFC 9111, section 4.3.4). */
async function ask(question: Question, old: KeptAnswer | undefined): Promise<WholeAnswer> {
  const answer = await question.ask(old === undefined ? [] : validatorsOf(old.headers));
  if (answer.status !== 304 || old === undefined) return answer;
  const updated = without(answer.headers, ofBody);
  const remaining = without(old.headers, namesOf(updated));
  return { status: old.status, headers: [...remaining, ...updated], body: old.body };
}
