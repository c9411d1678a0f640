import { Deadline } from '@zerda/chassis/deadline';
import type { RequestContext } from '@zerda/chassis/request-context';
import { isSampled } from '@zerda/chassis/tracing/traceparent';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Attempt, AttemptHeaders } from '@zerda/upstream/attempt';
import type { UpstreamResponse } from '@zerda/upstream/call-outcome';
import type { Upstream } from '@zerda/upstream/upstream';
import type { Dispatcher } from 'undici';
import { valuesOf, without } from '../headers/header-pairs.ts';
import { type HeaderFilter, passedResponseHeaders } from '../headers/passed-headers.ts';
import { isBodiless } from '../responses/is-bodiless.ts';
import { UpstreamExchange } from '../upstreams/upstream-exchange.ts';
import { perRequestHeaders } from './cached-request.ts';
import { TooLargeError } from './response-cache.ts';
import type { CompleteResponse } from './stored-response.ts';

export interface FetchCompleteResponseOptions {
  readonly upstream: Upstream;
  /** Path and query, without the base path of the upstream. */
  readonly target: string;
  /** Returns the request headers of an attempt: name, value, name, value. */
  readonly headers: (attempt: AttemptHeaders) => string[];
  /** Path pattern of the request, for spans. */
  readonly template: string;
  /** Context of the request that started the fetch. Its deadline does not apply. */
  readonly context: RequestContext;
  /** Milliseconds until the whole response must have arrived. */
  readonly timeoutMs: number;
  readonly slowMs?: number | undefined;
  readonly retries: number;
  /** Largest body in bytes. */
  readonly maxBytes: number;
  /** Selects the response headers to store. */
  readonly passesResponse: HeaderFilter;
  /** Receives interim responses; ignored by default. Returns true if it forwarded the response: the call is then not retried. */
  readonly onInterim?: (status: number, raw: readonly Buffer[]) => boolean;
}

/**
 * Sends a GET to an upstream and reads the whole response. Only its own timeout ends it: it continues when clients disconnect.
 * @throws TooLargeError, and what `Upstream.call` throws
 */
export async function fetchCompleteResponse(
  options: FetchCompleteResponseOptions,
): Promise<CompleteResponse> {
  const { upstream, template, timeoutMs, slowMs, retries } = options;
  const context = { ...options.context, deadline: Deadline.after(timeoutMs) };
  let reader: ResponseReader | undefined;
  const { complete } = await upstream.call(
    (attempt) => {
      reader = new ResponseReader(options, attempt);
      return reader.start();
    },
    { context, template, timeoutMs, slowMs, retries, repeatable: () => reader?.interimForwarded !== true },
  );
  if (complete === undefined) throw new TooLargeError();
  return complete;
}

/** Removed from responses without a body. */
const contentLength: ReadonlySet<string> = new Set(['content-length']);

/** Response headers that belong to one request. */
const perRequest: ReadonlySet<string> = new Set(perRequestHeaders);

interface FetchedResponse extends UpstreamResponse {
  /** Undefined if the response is too large; that does not count as a failure of the upstream. */
  readonly complete: CompleteResponse | undefined;
}

/** Reads the whole response of one attempt. */
class ResponseReader extends UpstreamExchange<FetchedResponse> implements Dispatcher.DispatchHandler {
  /** Whether an interim response was forwarded to the client. */
  interimForwarded = false;
  readonly #options: FetchCompleteResponseOptions;
  #status = 0;
  #headers: string[] = [];
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(options: FetchCompleteResponseOptions, attempt: Attempt) {
    super(options.upstream, attempt);
    this.#options = options;
  }

  protected override send(): void {
    const { target, headers } = this.#options;
    this.startTimer();
    this.dispatch({ method: 'GET', target, headers: headers(this.attempt), body: null });
  }

  override fail(error: Error): void {
    this.reject(error);
    this.abort(error);
  }

  #rejectTooLarge(): void {
    this.resolve({ status: this.#status, problem: undefined, complete: undefined });
    this.endRequest(new TooLargeError());
  }

  onHeaders(status: number, raw: readonly Buffer[]): boolean {
    if (status < 200) {
      if (this.#options.onInterim?.(status, raw) === true) this.interimForwarded = true;
      return true;
    }
    this.#status = status;
    this.#headers = without(passedResponseHeaders(raw, this.#options.passesResponse), perRequest);
    if (isBodiless(status)) this.#headers = without(this.#headers, contentLength);
    else if (Number(valuesOf(this.#headers, 'content-length')[0] ?? 0) > this.#options.maxBytes)
      this.#rejectTooLarge();
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#options.maxBytes) this.#rejectTooLarge();
    else this.#chunks.push(chunk);
    return true;
  }

  onComplete(): void {
    this.stopTimer();
    const status = this.#status;
    const problem = status < 500 ? undefined : valuesOf(this.#headers, headerNames.problem)[0];
    const body = Buffer.concat(this.#chunks, this.#bytes);
    const { traceparent } = this.attempt;
    const fetchedBy = traceparent !== undefined && isSampled(traceparent) ? traceparent : undefined;
    this.resolve({ status, problem, complete: { status, headers: this.#headers, body, fetchedBy } });
  }

  onError(error: Error): void {
    this.stopTimer();
    if (isBodiless(this.#status) && this.failure === undefined) this.onComplete();
    else this.reject(error);
  }
}
