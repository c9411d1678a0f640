import type { Readable } from 'node:stream';
import type { Attempt } from '@zerda/upstream/attempt';
import { type UpstreamResponse, UpstreamTimeoutError } from '@zerda/upstream/call-outcome';
import type { Upstream } from '@zerda/upstream/upstream';
import type { Dispatcher } from 'undici';

/** A request to an upstream. */
export interface UpstreamRequest {
  readonly method: string;
  /** Path and query, without the base path of the upstream. */
  readonly target: string;
  /** Name, value, name, value. */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
  /** Maximum milliseconds between two chunks of the response body; that of the upstream by default. */
  readonly bodyTimeout?: number;
}

/** One attempt of a call: a request to the upstream, its timeout and its end. Subclasses read the response. */
export abstract class UpstreamExchange<Response extends UpstreamResponse>
  implements Pick<Dispatcher.DispatchHandler, 'onConnect'>
{
  protected readonly attempt: Attempt;
  /** Why the request was aborted; undefined unless it was. */
  protected failure: Error | undefined;
  protected resolve!: (response: Response) => void;
  protected reject!: (error: Error) => void;
  readonly #upstream: Upstream;
  #abort: ((reason: Error) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(upstream: Upstream, attempt: Attempt) {
    this.#upstream = upstream;
    this.attempt = attempt;
  }

  /** Sends the request. Resolves and rejects when the subclass does. */
  start(): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.send();
    });
  }

  /** Calls `dispatch`, or rejects. */
  protected abstract send(): void;

  protected dispatch({ method, target, headers, body, bodyTimeout }: UpstreamRequest): void {
    const { dispatcher, origin, basePath } = this.#upstream;
    dispatcher.dispatch(
      {
        origin,
        method,
        headers,
        body,
        path: basePath + target,
        tried: this.attempt.tried,
        onConnected: this.attempt.onConnected,
        ...(bodyTimeout !== undefined && { bodyTimeout }),
      },
      this,
    );
  }

  /** Fails the exchange for a reason other than the upstream's response, such as a timeout. */
  abstract fail(error: Error): void;

  /** Ends the request because of an error of the exchange, also if it has no connection yet. */
  protected abort(error: Error): void {
    this.failure = error;
    this.endRequest(error);
  }

  /** Ends the request because its response is not needed. */
  protected endRequest(reason: Error): void {
    this.stopTimer();
    this.#abort?.(reason);
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.failure !== undefined) abort(this.failure);
  }

  /** Starts the timeout of the attempt, or starts it again. @param createError error of the timeout; that of the upstream by default */
  protected startTimer(createError?: () => Error): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(UpstreamExchange.#onTimeout, this.attempt.ms, this, createError);
  }

  static #onTimeout<R extends UpstreamResponse>(
    exchange: UpstreamExchange<R>,
    createError?: () => Error,
  ): void {
    exchange.fail(createError?.() ?? exchange.timeoutError(exchange.attempt.ms));
  }

  protected stopTimer(): void {
    clearTimeout(this.#timer);
  }

  protected timeoutError(ms: number): Error {
    return new UpstreamTimeoutError(this.#upstream.name, ms);
  }
}
