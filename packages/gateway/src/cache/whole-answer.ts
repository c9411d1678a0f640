import { Deadline } from '@zerda/chassis/deadline';
import { type UpstreamAnswer, UpstreamTimeoutError } from '@zerda/chassis/http-client/call-outcome';
import type { Attempt, Upstream } from '@zerda/chassis/http-client/upstream';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Dispatcher } from 'undici';
import { isBodiless } from '../bodiless.ts';
import { valuesOf, without } from '../header-pairs.ts';
import { type HeaderFilter, passedAnswerHeaders } from '../passed-headers.ts';
import { TooLargeError } from './answer-cache.ts';
import { perRequestHeaders } from './cached-request.ts';
import type { WholeAnswer } from './kept-answer.ts';

export interface AskWholeOptions {
  readonly upstream: Upstream;
  /** Path and query, without the base path of the upstream. */
  readonly target: string;
  /** Headers of the request when the upstream has `ms` milliseconds: name, value, name, value. */
  readonly headers: (ms: number) => string[];
  /** Of the request that is the first to want the answer; its deadline is not that of the call. */
  readonly context: RequestContext;
  /** Milliseconds to the end of the answer. */
  readonly timeoutMs: number;
  readonly slowMs?: number | undefined;
  readonly retries: number;
  /** Bytes of the body at most. */
  readonly maxBytes: number;
  /** Which headers of the answer are kept. */
  readonly passesAnswer: HeaderFilter;
  /** Told of interim responses; true when one has gone on, after which the call is not made again. Nothing by default. */
  readonly onInterim?: (status: number, raw: readonly Buffer[]) => boolean;
}

/**
 * Asks an upstream with GET and reads the answer to its end. Nobody's going away ends it but its own time.
 * @throws TooLargeError, and what `Upstream.call` throws
 */
export async function askWhole(options: AskWholeOptions): Promise<WholeAnswer> {
  const { upstream, timeoutMs, slowMs, retries } = options;
  const context = { ...options.context, deadline: Deadline.after(timeoutMs) };
  let reading: Reading | undefined;
  const { whole } = await upstream.call(
    (attempt) => {
      reading = new Reading(options, attempt);
      return reading.answer;
    },
    { context, timeoutMs, slowMs, retries, repeatable: () => reading?.interim !== true },
  );
  if (whole === undefined) throw new TooLargeError();
  return whole;
}

/** What a response without a body says of one. */
const lengthOfBody: ReadonlySet<string> = new Set(['content-length']);

/** Headers of a response that belong to the request it was fetched for. */
const perRequest: ReadonlySet<string> = new Set(perRequestHeaders);

interface Read extends UpstreamAnswer {
  /** Undefined when it is too large, which is no fault of the upstream's. */
  readonly whole: WholeAnswer | undefined;
}

/** One attempt. */
class Reading implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Read>;
  /** An interim response has gone on. */
  interim = false;
  readonly #options: AskWholeOptions;
  readonly #attempt: Attempt;
  #resolve!: (read: Read) => void;
  #reject!: (error: Error) => void;
  #timer: NodeJS.Timeout;
  #abort: ((reason: Error) => void) | undefined;
  #givenUp: Error | undefined;
  #status = 0;
  #headers: string[] = [];
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(options: AskWholeOptions, attempt: Attempt) {
    this.#options = options;
    this.#attempt = attempt;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { upstream, target, headers } = options;
    const { ms, tried } = attempt;
    this.#timer = setTimeout(() => this.#giveUp(new UpstreamTimeoutError(upstream.name, ms)), ms);
    upstream.dispatcher.dispatch(
      {
        origin: upstream.origin,
        path: upstream.basePath + target,
        method: 'GET',
        headers: headers(ms),
        body: null,
        tried,
      },
      this,
    );
  }

  #giveUp(error: Error): void {
    clearTimeout(this.#timer);
    this.#givenUp = error;
    this.#reject(error);
    this.#abort?.(error);
  }

  #refuse(): void {
    clearTimeout(this.#timer);
    this.#resolve({ status: this.#status, problem: undefined, whole: undefined });
    this.#abort?.(new TooLargeError());
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.#givenUp !== undefined) abort(this.#givenUp);
  }

  onHeaders(status: number, raw: readonly Buffer[]): boolean {
    if (status < 200) {
      if (this.#options.onInterim?.(status, raw) === true) this.interim = true;
      return true;
    }
    this.#status = status;
    this.#headers = without(passedAnswerHeaders(raw, this.#options.passesAnswer), perRequest);
    if (isBodiless(status)) this.#headers = without(this.#headers, lengthOfBody);
    else if (Number(valuesOf(this.#headers, 'content-length')[0] ?? 0) > this.#options.maxBytes)
      this.#refuse();
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#options.maxBytes) this.#refuse();
    else this.#chunks.push(chunk);
    return true;
  }

  onComplete(): void {
    clearTimeout(this.#timer);
    const status = this.#status;
    const problem = status < 500 ? undefined : valuesOf(this.#headers, headerNames.problem)[0];
    const answer = { status, problem };
    // Nothing else is done with the word: the call is made again, or this is its answer.
    this.#attempt.retriesAfter(answer);
    const body = Buffer.concat(this.#chunks, this.#bytes);
    this.#resolve({ ...answer, whole: { status, headers: this.#headers, body } });
  }

  onError(error: Error): void {
    clearTimeout(this.#timer);
    if (isBodiless(this.#status) && this.#givenUp === undefined) this.onComplete();
    else this.#reject(error);
  }
}
