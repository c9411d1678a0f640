import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import type { AnswerHeaders } from '@zerda/chassis/http/answer-headers';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { hasBody } from '@zerda/chassis/http/has-body';
import { setCutOff } from '@zerda/chassis/http/request-observer';
import {
  CallerGoneError,
  type UpstreamAnswer,
  UpstreamTimeoutError,
} from '@zerda/chassis/http-client/call-outcome';
import { rawValuesOf } from '@zerda/chassis/http-client/raw-headers';
import type { Attempt } from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { RequestContext } from '@zerda/chassis/request-context';
import { problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Dispatcher } from 'undici';
import { isBodiless } from './bodiless.ts';
import type { ForwardedHeaders, SecureLookup } from './forwarded-headers.ts';
import { without } from './header-pairs.ts';
import { passInterim } from './interim.ts';
import { endWhileReceiving } from './linger.ts';
import { missingSecurityHeaders, passedAnswerHeaders, passedRequestHeaders } from './passed-headers.ts';
import type { Visit } from './policies/visit.ts';
import { createRequestBody, type RequestBody } from './request-body.ts';
import type { ForwardedRoute } from './routes/forwarded-route.ts';
import { bytesTaken, type SlowClients, watchReader } from './slow-clients.ts';
import { toFailure } from './upstream-failure.ts';

export interface Forwarding {
  readonly context: RequestContext;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: ForwardedRoute;
  /** What its policies said; undefined when it has none. */
  readonly visit: Visit | undefined;
  /** What is on the answer beside the upstream's headers, and instead of those of the same name. */
  readonly guards: AnswerHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  readonly slowClients: SlowClients;
  readonly clientAddress: ClientAddress;
  readonly logger: Logger;
}

/**
 * Passes a request on and its response back: a small body of the request once all of it is here, everything else as it comes. Resolves
 * once the head of the response is on its way; what goes wrong later can only cut the connection.
 * @throws what `Upstream.call` throws, and `Failure` for a body that is too large or does not come
 */
export function forward(forwarding: Forwarding): Promise<unknown> {
  const { request, response, route, context } = forwarding;
  const begun = performance.now();
  let exchange: Exchange | undefined;
  const body = hasBody(request)
    ? createRequestBody({
        request,
        response,
        limitBytes: route.bodyLimitBytes,
        idleTimeoutMs: route.idleTimeoutMs,
        onFailure: (failure) => exchange?.giveUp(failure),
        onStall: () => exchange?.onStall(),
        onProgress: () => exchange?.onRequestProgress(),
        onReceived: () => exchange?.onRequestReceived(),
      })
    : undefined;
  const send = () =>
    route.upstream.call(
      (attempt) => {
        exchange = new Exchange(forwarding, attempt, { body, begun });
        return exchange.begin();
      },
      {
        context,
        timeoutMs: route.timeoutMs,
        slowMs: route.slowMs,
        retries: isIdempotent(request) ? route.retries : 0,
        repeatable: () =>
          exchange?.interim !== true && !response.destroyed && (body === undefined || body.repeatable),
      },
    );
  const receiving = body?.receive();
  if (body === undefined || receiving === undefined) return send();
  return receiveFirst(forwarding, { body, begun }, receiving).then(send);
}

/** What a request is sent on with. */
interface Incoming {
  readonly body: RequestBody | undefined;
  /** When the request was to be forwarded, on the clock of `performance.now()`. */
  readonly begun: number;
}

/** Meanwhile the request is only the client's concern: it counts as none in flight, and its time does not run. */
async function receiveFirst(
  forwarding: Forwarding,
  { body, begun }: Incoming & { readonly body: RequestBody },
  receiving: Promise<void>,
): Promise<void> {
  const { context, visit, route } = forwarding;
  visit?.load?.pause();
  const unwatch = watchSender(forwarding, body);
  const timer =
    route.totalTimeoutMs === undefined
      ? undefined
      : setTimeout(() => body.giveUp(tookTooLong()), route.totalTimeoutMs);
  try {
    await receiving;
  } finally {
    clearTimeout(timer);
    unwatch();
  }
  context.deadline.extend(performance.now() - begun);
  visit?.load?.requireCapacity();
  visit?.load?.resume();
}

const sentTooSlowly = () =>
  new Failure('request-timeout', { detail: 'The body of the request came too slowly.' });

const tookTooLong = () =>
  new Failure('request-timeout', { detail: 'The body of the request took too long.' });

function watchSender({ request, slowClients, clientAddress }: Forwarding, body: RequestBody): () => void {
  return slowClients.watch({
    direction: 'request',
    network: () => networkOf(clientAddress(request)),
    bytes: () => body.bytes,
    isClientsTurn: () => body.hereSince === undefined,
    end: () => body.giveUp(sentTooSlowly()),
  });
}

/** RFC 9110, section 9.2.2; a key makes a POST idempotent. */
function isIdempotent({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' ? headers[headerNames.idempotencyKey] !== undefined : method !== 'PATCH';
}

/**
 * Bytes of an answer that may wait for its client before the upstream is paused. Node's own mark is below a single piece: with it
 * the upstream would be paused and let go on again for every one, however fast the client reads.
 */
const mostUnsent = 128 * 1024;

/** Headers that a response without a body must not have (RFC 9110, section 8.6). */
const bodyHeaders: ReadonlySet<string> = new Set(['content-length']);

/** One attempt: a request to the upstream, and as much of its answer as comes. */
class Exchange implements Dispatcher.DispatchHandler {
  /** An interim answer has gone to the client. */
  interim = false;
  readonly #forwarding: Forwarding;
  readonly #attempt: Attempt;
  readonly #body: RequestBody | undefined;
  readonly #begun: number;
  #resolve!: (answer: UpstreamAnswer) => void;
  #reject!: (error: Error) => void;
  #abort: ((reason: Error) => void) | undefined;
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
  /** Lets the upstream go on. */
  #resume: () => void = () => undefined;
  /** Ends the watch of a client that sends; undefined while none does. */
  #stopSending: (() => void) | undefined;
  #unmarkSender: () => void = () => undefined;
  /** Ends the watch of a client that is to read; undefined while none is waited for. */
  #stopWaiting: (() => void) | undefined;

  constructor(forwarding: Forwarding, attempt: Attempt, { body, begun }: Incoming) {
    this.#forwarding = forwarding;
    this.#attempt = attempt;
    this.#body = body;
    this.#begun = begun;
  }

  /** Resolves with the head of the answer. */
  begin(): Promise<UpstreamAnswer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    const { context, request, response, route, visit, forwardedHeaders } = this.#forwarding;
    const { upstream, idleTimeoutMs, totalTimeoutMs, keepHost } = route;
    const { ms, tried } = this.#attempt;
    const body = this.#body?.open() ?? null;
    if (response.destroyed) {
      this.giveUp(new CallerGoneError(0));
      return;
    }
    if (this.#body === undefined || this.#body.complete)
      this.#headTimer = setTimeout(Exchange.#onHeadTimeout, ms, this);
    else this.#watchSender(this.#body);
    if (totalTimeoutMs !== undefined)
      this.#totalTimer = setTimeout(
        Exchange.#onTotalTimeout,
        this.#begun + totalTimeoutMs - performance.now(),
        this,
      );
    response.on('close', this.#onClientGone);
    upstream.dispatcher.dispatch(
      {
        origin: upstream.origin,
        path: upstream.basePath + (request.url ?? ''),
        method: request.method ?? 'GET',
        headers:
          visit?.requestHeaders?.(ms) ??
          passedRequestHeaders(request, { context, ms, forwardedHeaders, keepHost }),
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
    this.#abort?.(error);
    if (this.#answered) this.#cut(error);
    else this.#reject(error);
  }

  /** A client that still sends is watched until all of the request is here, whatever comes of the response meanwhile. */
  #watchSender(body: RequestBody): void {
    const unwatch = watchSender(this.#forwarding, body);
    this.#stopSending = () => {
      this.#unmarkSender();
      unwatch();
    };
    // A half-open circuit waits for this call: it must not depend on a client that takes its time.
    if (this.#attempt.probe)
      this.#headTimer = setTimeout(() => this.giveUp(sentTooSlowly()), this.#attempt.ms);
  }

  /** While it is the client's turn, another request that needs the slot of this call may take it. */
  onRequestProgress(): void {
    this.#unmarkSender();
    if (this.#stopSending === undefined || this.#body?.hereSince !== undefined) return;
    this.#unmarkSender = this.#attempt.waitForClient(() => {
      this.#forwarding.slowClients.countReplaced('request');
      this.giveUp(sentTooSlowly());
    });
  }

  /** The upstream's time runs from the end of the request: before, it has nothing to respond to, and `idle` bounds it. */
  onRequestReceived(): void {
    this.#endSending();
    if (this.#answered || this.#ended || this.#givenUp !== undefined) return;
    clearTimeout(this.#headTimer);
    this.#attempt.requestSent();
    this.#headTimer = setTimeout(Exchange.#onHeadTimeout, this.#attempt.ms, this);
  }

  #endSending(): void {
    this.#stopSending?.();
    this.#stopSending = undefined;
  }

  static #onHeadTimeout(exchange: Exchange): void {
    exchange.giveUp(new UpstreamTimeoutError(exchange.#forwarding.route.upstream.name, exchange.#attempt.ms));
  }

  static #onTotalTimeout(exchange: Exchange): void {
    const { route } = exchange.#forwarding;
    const body = exchange.#body;
    exchange.giveUp(
      body !== undefined && body.hereSince === undefined
        ? tookTooLong()
        : new UpstreamTimeoutError(route.upstream.name, route.totalTimeoutMs ?? 0),
    );
  }

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

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.#givenUp !== undefined) abort(this.#givenUp);
  }

  onHeaders(status: number, raw: readonly Buffer[], resume: () => void): boolean {
    if (status < 200) {
      const { request, response, route } = this.#forwarding;
      if (passInterim(request, response, status, raw, route.passesAnswer)) this.interim = true;
      return true;
    }
    clearTimeout(this.#headTimer);
    const { context, request, response, route, visit, guards } = this.#forwarding;
    const answer = { status, problem: status < 500 ? undefined : rawValuesOf(raw, headerNames.problem)[0] };
    if (response.destroyed || this.#attempt.retriesAfter(answer)) {
      this.#discarded = true;
      this.#stopTimers();
      response.off('close', this.#onClientGone);
      this.#resolve(answer);
      this.#abort?.(new Error('the answer is not needed'));
      return true;
    }
    this.#answered = true;
    this.#resume = resume;
    this.#bodiless = isBodiless(status);
    this.#release = this.#attempt.hold();
    // The rest of a body that nobody waits for would be taken for the next request.
    if (!request.complete) response.shouldKeepAlive = false;
    visit?.onAnswer?.();
    const own =
      visit === undefined ? guards.list(context) : [...guards.list(context), ...visit.answerHeaders];
    const headers = passedAnswerHeaders(raw, route.passesAnswer, own);
    headers.push(...missingSecurityHeaders(headers, this.#forwarding.isSecure(request)));
    response.writeHead(status, status === 204 ? without(headers, bodyHeaders) : headers);
    process.nextTick(Exchange.#sendHead, this);
    this.#resolve(answer);
    return true;
  }

  /** False pauses the upstream. */
  onData(chunk: Buffer): boolean {
    const { response, route } = this.#forwarding;
    this.#headSent = true;
    if (this.#discarded || response.write(chunk) || response.writableLength < mostUnsent) return true;
    this.#clientTimer ??= this.#startClientTimer(route.idleTimeoutMs);
    this.#waitForReader();
    response.once('drain', () => {
      clearTimeout(this.#clientTimer);
      this.#clientTimer = undefined;
      this.#endWait();
      this.#resume();
    });
    return false;
  }

  /** Fires when the client has taken nothing at all for that long. */
  #startClientTimer(ms: number): NodeJS.Timeout {
    const { socket } = this.#forwarding.request;
    const before = bytesTaken(socket);
    return setTimeout(() => {
      if (bytesTaken(socket) > before) this.#clientTimer = this.#startClientTimer(ms);
      else this.giveUp(new CallerGoneError());
    }, ms);
  }

  /** Until the client has taken what is there, another request that needs the slot of this call may take it. */
  #waitForReader(): void {
    this.#endWait();
    const { response, visit, slowClients } = this.#forwarding;
    visit?.load?.pause();
    const unwatch = watchReader(this.#forwarding, () => this.giveUp(new CallerGoneError()));
    const unmark = this.#attempt.waitForClient(() => {
      slowClients.countReplaced('response');
      this.giveUp(new CallerGoneError());
    });
    this.#stopWaiting = () => {
      unwatch();
      unmark();
      if (!response.destroyed) visit?.load?.resume();
    };
  }

  #endWait(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }

  /**
   * The head leaves with the first bytes of the body when those are already there, else alone: a client must see that an
   * answer has begun although the rest of it takes time.
   */
  static #sendHead(exchange: Exchange): void {
    const { response } = exchange.#forwarding;
    if (!exchange.#headSent && !response.writableEnded && !response.destroyed) response.flushHeaders();
  }

  onComplete(): void {
    const { request, response } = this.#forwarding;
    this.#stopTimers();
    this.#release();
    this.#ended = true;
    if (!this.#discarded) endWhileReceiving(request, response);
  }

  onError(error: Error): void {
    const { context, request, route, response, logger } = this.#forwarding;
    this.#ended = true;
    this.#stopTimers();
    response.off('close', this.#onClientGone);
    this.#release();
    if (this.#givenUp !== undefined || this.#discarded) return;
    if (!this.#answered) {
      this.#reject(error);
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
    this.#cut(error);
  }

  /** A reset, since to a client of HTTP/1.0 a plain close would be the end of a whole answer. */
  #cut(reason: Error): void {
    const { response } = this.#forwarding;
    if (!(reason instanceof CallerGoneError))
      setCutOff(response, problemTypes[toFailure(reason).code].status);
    // Behind the answer to an earlier request there is no connection yet; it ends when its turn comes.
    if (response.socket === null) response.destroy();
    else response.socket.resetAndDestroy();
  }

  #stopTimers(): void {
    this.#endWait();
    this.#endSending();
    clearTimeout(this.#headTimer);
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#clientTimer);
  }
}
