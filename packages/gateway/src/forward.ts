import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import type { AnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { hasBody } from '@zerda/chassis/http/has-body';
import {
  CallerGoneError,
  type UpstreamAnswer,
  UpstreamTimeoutError,
} from '@zerda/chassis/http-client/call-outcome';
import type { Attempt } from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Dispatcher } from 'undici';
import type { ForwardedHeaders } from './forwarded-headers.ts';
import { endWhileReceiving } from './linger.ts';
import { passedAnswerHeaders, passedRequestHeaders } from './passed-headers.ts';
import { createRequestBody, type RequestBody } from './request-body.ts';
import type { Route } from './routes/route.ts';

export interface Forwarding {
  readonly context: RequestContext;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: Route;
  /** What is on the answer beside the upstream's headers, and instead of those of the same name. */
  readonly guards: AnswerHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly logger: Logger;
}

/**
 * Passes a request on and its answer back, both as they come and neither of them read. Resolves once the head of the
 * answer is on its way; what goes wrong later can only cut the connection.
 * @throws what `Upstream.call` throws, and `Failure` for a body that is too large or does not come
 */
export async function forward(forwarding: Forwarding): Promise<void> {
  const { request, response, route } = forwarding;
  const retries = isIdempotent(request) ? route.retries : 0;
  let exchange: Exchange | undefined;
  const body = hasBody(request)
    ? createRequestBody({
        request,
        response,
        limitBytes: route.bodyLimitBytes,
        idleTimeoutMs: route.idleTimeoutMs,
        keep: retries > 0,
        onFailure: (failure) => exchange?.giveUp(failure),
        onStall: () => exchange?.onStall(),
      })
    : undefined;
  let interim = false;
  await route.upstream.call(
    (attempt) =>
      new Promise<UpstreamAnswer>((resolve, reject) => {
        exchange = new Exchange(forwarding, attempt, body, {
          resolve,
          reject,
          onInterim: () => {
            interim = true;
          },
        });
        exchange.start();
      }),
    {
      context: forwarding.context,
      timeoutMs: route.timeoutMs,
      slowMs: route.slowMs,
      retries,
      repeatable: () => !interim && !response.destroyed && (body === undefined || body.repeatable),
    },
  );
}

/** RFC 9110, section 9.2.2; a key makes a POST idempotent. */
function isIdempotent({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' ? headers[headerNames.idempotencyKey] !== undefined : method !== 'PATCH';
}

interface Settle {
  readonly resolve: (answer: UpstreamAnswer) => void;
  readonly reject: (error: Error) => void;
  /** Told when an interim answer has gone to the client. */
  readonly onInterim: () => void;
}

/** One attempt: a request to the upstream, and as much of its answer as comes. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #forwarding: Forwarding;
  readonly #attempt: Attempt;
  readonly #body: RequestBody | undefined;
  readonly #settle: Settle;
  #controller: Dispatcher.DispatchController | undefined;
  #givenUp: Error | undefined;
  /** The head of the answer is the client's; from here on the connection can only be cut. */
  #answered = false;
  /** That head is the whole answer (RFC 9112, section 6.3), whatever the upstream sends after it. */
  #bodiless = false;
  /** Nothing more becomes of it: all of the answer is the client's, or the upstream has failed. */
  #ended = false;
  /** The head of the answer has left, with the first bytes of the body or alone. */
  #headSent = false;
  /** The answer is left unread, since the request is made again. */
  #discarded = false;
  #headTimer: NodeJS.Timeout | undefined;
  #totalTimer: NodeJS.Timeout | undefined;
  /** Runs while the client is slower than the upstream, which is paused meanwhile. */
  #clientTimer: NodeJS.Timeout | undefined;
  #release: () => void = () => undefined;

  constructor(forwarding: Forwarding, attempt: Attempt, body: RequestBody | undefined, settle: Settle) {
    this.#forwarding = forwarding;
    this.#attempt = attempt;
    this.#body = body;
    this.#settle = settle;
  }

  start(): void {
    const { context, request, response, route, forwardedHeaders } = this.#forwarding;
    const { upstream, idleTimeoutMs, totalTimeoutMs, keepHost } = route;
    const { ms, tried } = this.#attempt;
    const body = this.#body?.open() ?? null;
    if (response.destroyed) {
      this.giveUp(new CallerGoneError(0));
      return;
    }
    this.#headTimer = setTimeout(this.#onHeadTimeout, ms);
    if (totalTimeoutMs !== undefined) this.#totalTimer = setTimeout(this.#onTotalTimeout, totalTimeoutMs);
    response.once('close', this.#onClientGone);
    upstream.dispatcher.dispatch(
      {
        origin: upstream.origin,
        path: upstream.basePath + (request.url ?? ''),
        method: request.method ?? 'GET',
        headers: passedRequestHeaders(request, { context, ms, forwardedHeaders, keepHost }),
        body,
        bodyTimeout: idleTimeoutMs,
        tried,
      },
      this,
    );
  }

  /** Ends the exchange for a reason that is not the upstream's answer. */
  giveUp(error: Error): void {
    if (this.#givenUp !== undefined || this.#ended) return;
    this.#givenUp = error;
    this.#stopTimers();
    this.#controller?.abort(error);
    if (this.#answered) this.#cut();
    else this.#settle.reject(error);
  }

  /** The time runs from the end of the request: before, the upstream has nothing to answer, and `idle` bounds it. */
  readonly #onHeadTimeout = (): void => {
    const { request, route } = this.#forwarding;
    const { ms } = this.#attempt;
    if (request.complete) this.giveUp(new UpstreamTimeoutError(route.upstream.name, ms));
    else
      request.once('end', () => {
        if (!this.#answered && this.#givenUp === undefined && !this.#ended)
          this.#headTimer = setTimeout(this.#onHeadTimeout, ms);
      });
  };

  readonly #onTotalTimeout = (): void => {
    const { route } = this.#forwarding;
    this.giveUp(
      this.#body !== undefined && this.#body.hereSince === undefined
        ? new Failure('request-timeout', { detail: 'The body of the request took too long.' })
        : new UpstreamTimeoutError(route.upstream.name, route.totalTimeoutMs ?? 0),
    );
  };

  /** An upstream that takes no more of the body may do so once it has answered. */
  onStall(): void {
    const { route } = this.#forwarding;
    if (!this.#answered) this.giveUp(new UpstreamTimeoutError(route.upstream.name, route.idleTimeoutMs));
  }

  /** Unless the circuit waits for this very answer, nobody does any more. */
  readonly #onClientGone = (): void => {
    const { request, response } = this.#forwarding;
    if (response.writableFinished) return;
    if (!this.#attempt.probe || this.#answered || !request.complete) this.giveUp(this.#callerGone());
  };

  /** While it was sending the client did not wait. */
  #callerGone(): CallerGoneError {
    if (this.#body === undefined) return new CallerGoneError();
    const { hereSince } = this.#body;
    return new CallerGoneError(hereSince === undefined ? 0 : performance.now() - hereSince);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#givenUp !== undefined) controller.abort(this.#givenUp);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    const raw = (controller.rawHeaders ?? []) as readonly Buffer[];
    if (status < 200) {
      this.#passInterim(status, raw);
      return;
    }
    clearTimeout(this.#headTimer);
    const { context, request, response, guards } = this.#forwarding;
    const answer = { status, problem: status < 500 ? undefined : headerOf(raw, headerNames.problem) };
    if (response.destroyed || this.#attempt.retriesAfter(answer)) {
      this.#discarded = true;
      this.#stopTimers();
      response.off('close', this.#onClientGone);
      this.#settle.resolve(answer);
      controller.abort(new Error('the answer is not needed'));
      return;
    }
    this.#answered = true;
    this.#bodiless = status === 204 || status === 304;
    this.#release = this.#attempt.hold();
    // The rest of a body that nobody waits for would be taken for the next request.
    if (!request.complete) response.shouldKeepAlive = false;
    response.writeHead(status, passedAnswerHeaders(raw, guards.list(context), guards.names));
    process.nextTick(this.#sendHead);
    this.#settle.resolve(answer);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { response, route } = this.#forwarding;
    this.#headSent = true;
    if (this.#discarded || response.write(chunk) || this.#clientTimer !== undefined) return;
    controller.pause();
    this.#clientTimer = setTimeout(() => this.giveUp(new CallerGoneError()), route.idleTimeoutMs);
    response.once('drain', () => {
      clearTimeout(this.#clientTimer);
      this.#clientTimer = undefined;
      controller.resume();
    });
  }

  /**
   * The head leaves with the first bytes of the body when those are already there, else alone: a client must see that an
   * answer has begun although the rest of it takes time.
   */
  readonly #sendHead = (): void => {
    const { response } = this.#forwarding;
    if (!this.#headSent && !response.writableEnded && !response.destroyed) response.flushHeaders();
  };

  onResponseEnd(): void {
    const { request, response } = this.#forwarding;
    this.#stopTimers();
    this.#release();
    this.#ended = true;
    if (!this.#discarded) endWhileReceiving(request, response);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { context, request, route, response, logger } = this.#forwarding;
    this.#ended = true;
    this.#stopTimers();
    response.off('close', this.#onClientGone);
    this.#release();
    if (this.#givenUp !== undefined || this.#discarded) return;
    if (!this.#answered) {
      this.#settle.reject(error);
      return;
    }
    if (this.#bodiless) {
      endWhileReceiving(request, response);
      return;
    }
    logger.warn(
      { correlation_id: context.correlationId, err: error, upstream: route.upstream.name },
      'answer broke off',
    );
    this.#cut();
  }

  /** RFC 9110, section 15.2: passed on, but to a client of HTTP/1.0, which does not know of them. */
  #passInterim(status: number, raw: readonly Buffer[]): void {
    const { request, response } = this.#forwarding;
    if (request.httpVersionMinor === 0 || response.headersSent || response.destroyed) return;
    // They cannot be held back as bodies are, and must not pile up for a client that does not read.
    if (response.writableLength > response.writableHighWaterMark) return;
    if (status === 102) response.writeProcessing();
    else if (status !== 103 || !writeEarlyHints(response, passedAnswerHeaders(raw))) return;
    this.#settle.onInterim();
  }

  /** A reset, since to a client of HTTP/1.0 a plain close would be the end of a whole answer. */
  #cut(): void {
    const { response } = this.#forwarding;
    // Behind the answer to an earlier request there is no connection yet; it ends when its turn comes.
    if (response.socket === null) response.destroy();
    else response.socket.resetAndDestroy();
  }

  #stopTimers(): void {
    clearTimeout(this.#headTimer);
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#clientTimer);
  }
}

/** Node takes hints only with links, and only links of a form it knows; others are hints that nobody gets. */
function writeEarlyHints(response: ServerResponse, headers: readonly string[]): boolean {
  const hints: Record<string, string> = {};
  const link: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const [name = '', value = ''] = headers.slice(index, index + 2);
    const key = name.toLowerCase();
    if (key === 'link') link.push(...value.split(/,\s*(?=<)/));
    else if (key !== 'content-length') hints[name] = value;
  }
  if (link.length === 0) return false;
  try {
    response.writeEarlyHints({ ...hints, link });
    return true;
  } catch {
    return false;
  }
}

/** The first value of a header among the raw ones of an answer. */
function headerOf(raw: readonly Buffer[], name: string): string | undefined {
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.length === name.length && raw[index]?.toString('latin1').toLowerCase() === name)
      return raw[index + 1]?.toString('latin1');
  }
  return undefined;
}
