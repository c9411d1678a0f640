import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import { hasBody } from '@zerda/chassis/http/has-body';
import { setAbortStatus } from '@zerda/chassis/http/request-observer';
import type { ResponseHeaders } from '@zerda/chassis/http/response-headers';
import type { Logger } from '@zerda/chassis/logging/logger';
import { type RequestContext, requestLogFields } from '@zerda/chassis/request-context';
import { problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { Attempt } from '@zerda/upstream/attempt';
import {
  CallerDisconnectedError,
  type HeldResponse,
  isBusy,
  type UpstreamResponse,
} from '@zerda/upstream/call-outcome';
import { rawValuesOf } from '@zerda/upstream/raw-headers';
import type { Dispatcher } from 'undici';
import type { ForwardedHeaders, SecureLookup } from '../headers/forwarded-headers.ts';
import { without } from '../headers/header-pairs.ts';
import { passedRequestHeaders, passedResponseHeaders } from '../headers/passed-headers.ts';
import { missingSecurityHeaders } from '../headers/security-headers.ts';
import type { BodyPacer } from '../overload/body-pacer.ts';
import { bytesSent, type SlowClients, watchReader } from '../overload/slow-clients.ts';
import type { PolicyContext } from '../policies/policy-context.ts';
import { endWhileReceiving } from '../responses/end-while-receiving.ts';
import { isBodiless } from '../responses/is-bodiless.ts';
import { passInterim } from '../responses/pass-interim.ts';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import { UpstreamExchange } from '../upstreams/upstream-exchange.ts';
import { toFailure } from '../upstreams/upstream-failure.ts';
import { createRequestBody, type RequestBody } from './request-body.ts';

export interface Forwarding {
  readonly context: RequestContext;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: ForwardedRoute;
  /** Results of the route's policies; undefined when it has none. */
  readonly policyContext: PolicyContext | undefined;
  /** Headers that the gateway adds to the response; they replace upstream headers of the same name. */
  readonly securityHeaders: ResponseHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  readonly isSecure: SecureLookup;
  readonly slowClients: SlowClients;
  readonly bodyPacer: BodyPacer;
  readonly clientAddress: ClientAddress;
  readonly logger: Logger;
}

/**
 * Forwards a request to its upstream and the response to the client. Small request bodies are buffered; larger ones and
 * responses are streamed. Resolves when the response head has been received. Later failures reset the connection.
 * @throws what `Upstream.call` throws, and `Failure` for a body that is too large or times out
 */
export function forward(forwarding: Forwarding): Promise<unknown> {
  const { request, response, route, context } = forwarding;
  const startedAt = performance.now();
  let exchange: Exchange | undefined;
  const body = hasBody(request)
    ? createRequestBody({
        request,
        response,
        limitBytes: route.bodyLimitBytes,
        idleTimeoutMs: route.idleTimeoutMs,
        bodyPacer: forwarding.bodyPacer,
        onFailure: (failure) => exchange?.fail(failure),
        onStall: () => exchange?.onStall(),
        onProgress: () => exchange?.onRequestProgress(),
        onReceived: () => exchange?.onRequestReceived(),
      })
    : undefined;
  const send = () =>
    route.upstream.call(
      (attempt) => {
        exchange = new Exchange(forwarding, attempt, { body, startedAt });
        return exchange.start();
      },
      {
        context,
        method: request.method,
        template: route.path,
        timeoutMs: route.timeoutMs,
        slowMs: route.slowMs,
        retries: isIdempotent(request) ? route.retries : 0,
        repeatable: () =>
          exchange?.interim !== true && !response.destroyed && (body === undefined || body.repeatable),
      },
    );
  const receiving = body?.receive();
  if (body === undefined || receiving === undefined) return send();
  return receiveFirst(forwarding, { body, startedAt }, receiving).then(send);
}

/** The body and the start time of a request. */
interface Incoming {
  readonly body: RequestBody | undefined;
  /** Time at which forwarding started, from `performance.now()`. */
  readonly startedAt: number;
}

/** Receives a small body before the call. Meanwhile the request does not count as in flight and its deadline is suspended. */
async function receiveFirst(
  forwarding: Forwarding,
  { body, startedAt }: Incoming & { readonly body: RequestBody },
  receiving: Promise<void>,
): Promise<void> {
  const { context, policyContext, route } = forwarding;
  policyContext?.load?.pause();
  const unwatch = watchSender(forwarding, body);
  const timer =
    route.totalTimeoutMs === undefined
      ? undefined
      : setTimeout(() => body.fail(bodyTimedOut()), route.totalTimeoutMs);
  try {
    await receiving;
  } finally {
    clearTimeout(timer);
    unwatch();
  }
  context.deadline.extend(performance.now() - startedAt);
  policyContext?.load?.requireCapacity();
  policyContext?.load?.resume();
}

const bodyTooSlow = () =>
  new Failure('request-timeout', { detail: 'The client sent the request body too slowly.' });

const bodyTimedOut = () =>
  new Failure('request-timeout', { detail: 'The request body did not arrive in time.' });

function watchSender({ request, slowClients, clientAddress }: Forwarding, body: RequestBody): () => void {
  return slowClients.watch({
    direction: 'request',
    network: () => networkOf(clientAddress(request)),
    bytes: () => body.bytes,
    isWaitingForClient: () => body.waitingForUpstreamSince === undefined,
    end: () => body.fail(bodyTooSlow()),
  });
}

/** Whether the method is idempotent (RFC 9110, section 9.2.2). An Idempotency-Key makes a POST idempotent. */
function isIdempotent({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' ? headers[headerNames.idempotencyKey] !== undefined : method !== 'PATCH';
}

/**
 * Bytes of a response that may wait for the client before the upstream is paused. Node's default high-water mark is
 * smaller than one chunk, so it would pause and resume the upstream on every chunk.
 */
const maxUnsentBytes = 128 * 1024;

/** Headers that a response without a body must not have (RFC 9110, section 8.6). */
const bodyHeaders: ReadonlySet<string> = new Set(['content-length']);

interface ResponseHead {
  readonly status: number;
  readonly raw: readonly Buffer[];
}

/** One attempt: a request to the upstream and its response. */
class Exchange
  extends UpstreamExchange<UpstreamResponse>
  implements Dispatcher.DispatchHandler, HeldResponse
{
  /** Whether an interim response has been sent to the client. */
  interim = false;
  readonly #forwarding: Forwarding;
  readonly #body: RequestBody | undefined;
  readonly #startedAt: number;
  /** The head of a busy response that waits for the decision about a retry. */
  #heldHead: ResponseHead | undefined;
  /** The response head has been written; from now on a failure can only reset the connection. */
  #responseStarted = false;
  /** The response has no body (RFC 9112, section 6.3), whatever the upstream sends after the head. */
  #bodiless = false;
  /** The exchange is finished: the response is complete, or the upstream has failed. */
  #ended = false;
  /** The response head has been sent, with the first bytes of the body or alone. */
  #headSent = false;
  /** The response is discarded: the request is retried, or the client has disconnected. */
  #discarded = false;
  #totalTimer: NodeJS.Timeout | undefined;
  /** Runs while the upstream is paused because the client reads more slowly. */
  #clientTimer: NodeJS.Timeout | undefined;
  #release: () => void = () => undefined;
  /** Resumes the upstream. */
  #resume: () => void = () => undefined;
  /** Stops watching a client that sends the body; undefined when not watching. */
  #stopSending: (() => void) | undefined;
  #unmarkSender: () => void = () => undefined;
  /** Stops watching a client that reads the response; undefined when not watching. */
  #stopWaiting: (() => void) | undefined;

  constructor(forwarding: Forwarding, attempt: Attempt, { body, startedAt }: Incoming) {
    super(forwarding.route.upstream, attempt);
    this.#forwarding = forwarding;
    this.#body = body;
    this.#startedAt = startedAt;
  }

  /** Sends the request; `start` resolves with the response head. */
  protected override send(): void {
    const { context, request, response, route, policyContext, forwardedHeaders } = this.#forwarding;
    const { idleTimeoutMs, totalTimeoutMs, keepHost } = route;
    const body = this.#body?.open() ?? null;
    if (response.destroyed) {
      this.fail(new CallerDisconnectedError(0));
      return;
    }
    if (this.#body === undefined || this.#body.complete) this.startTimer();
    else this.#watchSender(this.#body);
    if (totalTimeoutMs !== undefined)
      this.#totalTimer = setTimeout(
        Exchange.#onTotalTimeout,
        this.#startedAt + totalTimeoutMs - performance.now(),
        this,
      );
    response.on('close', this.#onClientDisconnected);
    this.dispatch({
      method: request.method ?? 'GET',
      target: request.url ?? '',
      headers:
        policyContext?.requestHeaders?.(this.attempt) ??
        passedRequestHeaders(request, { context, attempt: this.attempt, forwardedHeaders, keepHost }),
      body,
      bodyTimeout: idleTimeoutMs,
    });
  }

  override fail(error: Error): void {
    if (this.failure !== undefined || this.#ended) return;
    this.#stopTimers();
    this.abort(error);
    if (this.#responseStarted) this.#resetConnection(error);
    else this.reject(error);
  }

  /** Watches a client until it has sent the whole request, even after the response has started. */
  #watchSender(body: RequestBody): void {
    const unwatch = watchSender(this.#forwarding, body);
    this.#stopSending = () => {
      this.#unmarkSender();
      unwatch();
    };
    // A half-open circuit waits for this call, so a slow client must not hold it up.
    if (this.attempt.probe) this.startTimer(bodyTooSlow);
  }

  /** Lets another request take the slot of this call while it waits for the client. */
  onRequestProgress(): void {
    this.#unmarkSender();
    if (this.#stopSending === undefined || this.#body?.waitingForUpstreamSince !== undefined) return;
    this.#unmarkSender = this.attempt.waitForClient(() => {
      this.#forwarding.slowClients.countReplaced('request');
      this.fail(bodyTooSlow());
    });
  }

  /** Starts the upstream timeout at the end of the request; until then the idle timeout applies. */
  onRequestReceived(): void {
    this.#endSending();
    if (this.#responseStarted || this.#ended || this.failure !== undefined) return;
    this.attempt.requestSent();
    this.startTimer();
  }

  #endSending(): void {
    this.#stopSending?.();
    this.#stopSending = undefined;
  }

  static #onTotalTimeout(exchange: Exchange): void {
    const { route } = exchange.#forwarding;
    const body = exchange.#body;
    exchange.fail(
      body !== undefined && body.waitingForUpstreamSince === undefined
        ? bodyTimedOut()
        : exchange.timeoutError(route.totalTimeoutMs ?? 0),
    );
  }

  /** Times out when the upstream stops reading the body, unless its response has started. */
  onStall(): void {
    const { route } = this.#forwarding;
    if (!this.#responseStarted) this.fail(this.timeoutError(route.idleTimeoutMs));
  }

  /** Cancels the call, unless a half-open circuit waits for its response. */
  readonly #onClientDisconnected = (): void => {
    const { request, response } = this.#forwarding;
    if (response.writableFinished) return;
    if (!this.attempt.probe || this.#responseStarted || !request.complete)
      this.fail(this.#callerDisconnected());
  };

  /** The time in which the client was still sending does not count as waiting. */
  #callerDisconnected(): CallerDisconnectedError {
    if (this.#body === undefined) return new CallerDisconnectedError();
    const { waitingForUpstreamSince } = this.#body;
    return new CallerDisconnectedError(
      waitingForUpstreamSince === undefined ? 0 : performance.now() - waitingForUpstreamSince,
    );
  }

  onHeaders(status: number, raw: readonly Buffer[], resume: () => void): boolean {
    if (status < 200) {
      const { request, response, route } = this.#forwarding;
      if (passInterim(request, response, status, raw, route.passesResponse)) this.interim = true;
      return true;
    }
    this.stopTimer();
    this.#resume = resume;
    const result = { status, problem: status < 500 ? undefined : rawValuesOf(raw, headerNames.problem)[0] };
    if (this.#forwarding.response.destroyed) {
      this.resolve(result);
      this.discard();
      return true;
    }
    if (!this.attempt.last && isBusy(result)) {
      this.#heldHead = { status, raw };
      this.resolve({ ...result, held: this });
      return false;
    }
    this.#startResponse(status, raw);
    this.resolve(result);
    return true;
  }

  /** Sends the held response to the client. */
  pass(): void {
    if (this.#forwarding.response.destroyed) {
      this.discard();
      return;
    }
    if (this.failure !== undefined) {
      this.#resetConnection(this.failure);
      return;
    }
    if (this.#heldHead !== undefined) this.#startResponse(this.#heldHead.status, this.#heldHead.raw);
    // A response to HEAD is complete as soon as its head is received.
    if (this.#ended) this.#endResponse();
    else this.#resume();
  }

  discard(): void {
    this.#discarded = true;
    this.#stopTimers();
    this.#forwarding.response.off('close', this.#onClientDisconnected);
    this.endRequest(new Error('response discarded'));
  }

  #startResponse(status: number, raw: readonly Buffer[]): void {
    const { context, request, response, route, policyContext, securityHeaders } = this.#forwarding;
    this.#responseStarted = true;
    this.#bodiless = isBodiless(status);
    this.#release = this.attempt.hold();
    // Unread bytes of the body would be parsed as the next request.
    if (!request.complete) response.shouldKeepAlive = false;
    policyContext?.onResponse?.();
    const gatewayHeaders =
      policyContext === undefined
        ? securityHeaders.list(context)
        : [...securityHeaders.list(context), ...policyContext.responseHeaders];
    const headers = passedResponseHeaders(raw, route.passesResponse, gatewayHeaders);
    headers.push(...missingSecurityHeaders(headers, this.#forwarding.isSecure(request)));
    response.writeHead(status, status === 204 ? without(headers, bodyHeaders) : headers);
    process.nextTick(Exchange.#sendHead, this);
  }

  #endResponse(): void {
    this.#release();
    endWhileReceiving(this.#forwarding.request, this.#forwarding.response);
  }

  /** Returns false to pause the upstream. */
  onData(chunk: Buffer): boolean {
    const { response, route, bodyPacer } = this.#forwarding;
    this.#headSent = true;
    if (this.#discarded) return true;
    if (response.write(chunk) || response.writableLength < maxUnsentBytes) {
      if (bodyPacer.take(chunk.length)) return true;
      bodyPacer.wait(this.#resume);
      return false;
    }
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

  /** Starts a timer that disconnects the client when it has read nothing for `ms` milliseconds. */
  #startClientTimer(ms: number): NodeJS.Timeout {
    const { socket } = this.#forwarding.request;
    const before = bytesSent(socket);
    return setTimeout(() => {
      if (bytesSent(socket) > before) this.#clientTimer = this.#startClientTimer(ms);
      else this.fail(new CallerDisconnectedError());
    }, ms);
  }

  /** Lets another request take the slot of this call until the client has read the buffered bytes. */
  #waitForReader(): void {
    this.#endWait();
    const { response, policyContext, slowClients } = this.#forwarding;
    policyContext?.load?.pause();
    const unwatch = watchReader(this.#forwarding, () => this.fail(new CallerDisconnectedError()));
    const unmark = this.attempt.waitForClient(() => {
      slowClients.countReplaced('response');
      this.fail(new CallerDisconnectedError());
    });
    this.#stopWaiting = () => {
      unwatch();
      unmark();
      if (!response.destroyed) policyContext?.load?.resume();
    };
  }

  #endWait(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }

  /**
   * Sends the response head alone when no body bytes have arrived yet, so that the client sees the start of a slow
   * response. Otherwise the head is sent with the first chunk.
   */
  static #sendHead(exchange: Exchange): void {
    const { response } = exchange.#forwarding;
    if (!exchange.#headSent && !response.writableEnded && !response.destroyed) response.flushHeaders();
  }

  onComplete(): void {
    this.#stopTimers();
    this.#ended = true;
    if (this.#responseStarted) this.#endResponse();
  }

  onError(error: Error): void {
    const { context, request, route, response, logger } = this.#forwarding;
    this.#ended = true;
    this.#stopTimers();
    response.off('close', this.#onClientDisconnected);
    this.#release();
    if (this.failure !== undefined || this.#discarded) return;
    if (!this.#responseStarted) {
      this.failure = error;
      this.reject(error);
      return;
    }
    if (this.#bodiless) {
      endWhileReceiving(request, response);
      return;
    }
    logger.warn(
      { ...requestLogFields(context), err: error, upstream: route.upstream.name },
      'response interrupted',
    );
    this.#resetConnection(error);
  }

  /** Resets the connection: to an HTTP/1.0 client, a plain close would mark the end of a complete response. */
  #resetConnection(reason: Error): void {
    const { response } = this.#forwarding;
    if (!(reason instanceof CallerDisconnectedError))
      setAbortStatus(response, problemTypes[toFailure(reason).code].status);
    // A pipelined response has no socket yet; it ends when its turn comes.
    if (response.socket === null) response.destroy();
    else response.socket.resetAndDestroy();
  }

  #stopTimers(): void {
    this.#endWait();
    this.#endSending();
    this.stopTimer();
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#clientTimer);
  }
}
