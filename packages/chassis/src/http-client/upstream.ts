import { setTimeout as wait } from 'node:timers/promises';
import { headerNames } from '@zerda/contracts/protocol/headers';
import axios, { AxiosError, type AxiosResponse } from 'axios';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { currentContext, type RequestContext } from '../request-context.ts';
import { type Balancer, type BalancerOptions, createBalancer } from './balancer.ts';
import { Bulkhead } from './bulkhead.ts';
import {
  BulkheadFullError,
  CallerGoneError,
  isBusy,
  isWorthRetrying,
  reasonOf,
  TimedJudge,
  type UpstreamAnswer,
  UpstreamTimeoutError,
} from './call-outcome.ts';
import { type CircuitBreaker, type CircuitBreakerSettings, createCircuitBreaker } from './circuit-breaker.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createUndiciAdapter, statusError } from './undici-adapter.ts';

export interface UpstreamOptions {
  /** Name of the service in metrics, logs and errors. */
  readonly name: string;
  /** Where it is; a path in it is put before every path called. */
  readonly baseUrl: string;
  /** Milliseconds a call may take when the request in hand allows as much. */
  readonly timeoutMs: number;
  /** Connections to each of its addresses at most; calls above wait for one. */
  readonly maxConnections: number;
  /**
   * Calls in flight at most, counted to the end of their answers; by default as many as there can be connections, for
   * a call that waits for one spends its time on that.
   */
  readonly maxInFlight?: number;
  readonly circuit: CircuitBreakerSettings;
  /** How its addresses are looked up and left; see the balancer. */
  readonly balancing?: Pick<BalancerOptions, 'lookups' | 'ejection'>;
  readonly metrics: Pick<
    Metrics,
    'circuitEvent' | 'circuitState' | 'upstreamCall' | 'upstreamRetried' | 'upstreamInFlight' | 'pool'
  >;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

export interface CallOptions {
  /** Of the request that the call is made for; the one in hand by default. */
  readonly context?: RequestContext | undefined;
  /** Milliseconds this call may take instead of the upstream's own time. */
  readonly timeoutMs?: number | undefined;
  /**
   * Milliseconds after which a caller who gives up, or a time that ran out, counts as a failure of the upstream; half
   * of the call's time by default.
   */
  readonly slowMs?: number | undefined;
  /** How often the call is made again at most; 0 by default. */
  readonly retries?: number;
  /** Whether the call can be made again now: false once something of it is used up. Always by default. */
  readonly repeatable?: () => boolean;
}

export interface GetOptions extends Pick<CallOptions, 'timeoutMs' | 'slowMs'> {
  /** Query of the URL. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** Headers beside those that every call has. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the body of a 2xx response is left as it came, as a `Buffer`; JSON is parsed by default. */
  readonly raw?: boolean;
}

/** One attempt at a call. */
export interface Attempt {
  /** Milliseconds it may take, above zero. */
  readonly ms: number;
  /** The circuit is judged by this attempt: it is worth its end although nobody waits for it. */
  readonly probe: boolean;
  /** Addresses that the call has been to, for the balancer. */
  readonly tried: Set<string>;
  /** Whether the call will be made again after this answer, which is then nobody's; to be asked once. */
  retriesAfter(answer: UpstreamAnswer): boolean;
  /** Keeps the call in flight until the function it returns is called, for a body that is read later. */
  hold(): () => void;
  /** Is called when all of the request has been sent: the time in which the service must respond begins now. */
  requestSent(): void;
  /**
   * Is called when the call waits for its client: from then on another call may take its slot.
   * @param end ends the call
   * @returns is to be called when the call waits no longer
   */
  waitForClient(end: () => void): () => void;
}

/** A service this one calls: kept-alive connections to all its addresses, and one circuit breaker for all calls. */
export interface Upstream {
  readonly name: string;
  readonly breaker: CircuitBreaker;
  readonly dispatcher: Balancer;
  readonly origin: string;
  /** Path of the base URL, without a slash at its end. */
  readonly basePath: string;
  /** Calls that are made and not ended. */
  readonly inFlight: number;
  /**
   * Reads one answer. Statuses outside of 2xx reject with axios's error, whose `response` is the answer.
   * @throws CircuitOpenError, BulkheadFullError, UpstreamTimeoutError, AxiosError, or Failure `deadline-exceeded` when
   * no time is left
   */
  get<Body>(path: string, options?: GetOptions): Promise<AxiosResponse<Body>>;
  /**
   * Makes any other kind of call under the circuit breaker, which judges a repeated call by its last attempt. `work` must end within
   * its time, by throwing `UpstreamTimeoutError` when that runs out and `CallerGoneError` when nobody waits any more.
   */
  call<Answer extends UpstreamAnswer>(
    work: (attempt: Attempt) => Promise<Answer>,
    options?: CallOptions,
  ): Promise<Answer>;
}

/** A connection that takes longer will hardly come; another attempt might. */
const longestConnectMs = 2000;

/** Milliseconds before a call is made again at most, at random, so that callers do not return together. */
const retryJitterMs = 25;

/** Milliseconds that must be left for a call to be made again: the pause before it, and as much to make it. */
const leastRetryMs = 2 * retryJitterMs;

export function createUpstream(options: UpstreamOptions): Upstream {
  const { name, metrics, logger } = options;
  const base = new URL(options.baseUrl);
  const dispatcher = createBalancer({
    ...options.balancing,
    origin: base.origin,
    logger,
    connections: options.maxConnections,
    pipelining: 1,
    connect: { timeout: Math.min(options.timeoutMs, longestConnectMs) },
    // Each call brings its own time to the head of the answer.
    headersTimeout: 0,
    // Between two pieces of a body that is passed on as it comes.
    bodyTimeout: options.timeoutMs,
  });
  const breaker = createCircuitBreaker({ ...options.circuit, name, metrics, logger });
  const budget = createRetryBudget();
  const http = axios.create({
    adapter: createUndiciAdapter(dispatcher),
    baseURL: base.href,
    allowAbsoluteUrls: false,
  });
  const bulkhead = new Bulkhead();

  metrics.upstreamInFlight(name, () => bulkhead.inFlight);
  metrics.pool(name, () => {
    const { connected, running, queued } = dispatcher.stats;
    return { size: connected, idle: Math.max(0, connected - running), waiting: queued };
  });
  options.lifecycle.onShutdown(`${name} connections`, async () => {
    breaker.shutdown();
    // Servers are closed before: nobody waits for what may still be in flight.
    await dispatcher.destroy();
  });

  function measure({ elapsedMs }: TimedJudge, outcome: string): void {
    metrics.upstreamCall(name, outcome, elapsedMs / 1000);
  }

  async function call<Answer extends UpstreamAnswer>(
    work: (attempt: Attempt) => Promise<Answer>,
    {
      context = currentContext(),
      timeoutMs = options.timeoutMs,
      slowMs = timeoutMs / 2,
      retries = 0,
      repeatable = always,
    }: CallOptions = {},
  ): Promise<Answer> {
    const deadline = Deadline.after(Math.min(timeoutMs, context?.deadline.remainingMs() ?? timeoutMs));
    const most = options.maxInFlight ?? options.maxConnections * Math.max(1, dispatcher.addressCount);
    const client = context?.client;
    if (!bulkhead.enter(most, client)) throw new BulkheadFullError(name, bulkhead.inFlight);
    let holders = 1;
    let hasLeft = false;
    const leave = (): void => {
      if (!hasLeft) bulkhead.leave(client);
      hasLeft = true;
    };
    const release = (): void => {
      holders -= 1;
      if (holders === 0) leave();
    };
    const tried = new Set<string>();
    budget.deposit();
    try {
      for (let left = retries; ; left -= 1) {
        const ms = deadline.remainingMs();
        if (ms === 0) throw new Failure('deadline-exceeded');
        let again = false;
        const mayRetry = (): boolean =>
          left > 0 &&
          repeatable() &&
          deadline.remainingMs() > leastRetryMs &&
          breaker.state === 'closed' &&
          budget.withdraw();
        const judge = new TimedJudge(slowMs);
        try {
          const answer = await breaker.run<Answer>(
            (probe) =>
              work({
                ms,
                probe,
                tried,
                retriesAfter(answered) {
                  again = isBusy(answered) && mayRetry();
                  return again;
                },
                requestSent: () => judge.restart(),
                waitForClient: (end) =>
                  bulkhead.waitForClient(client, () => {
                    end();
                    leave();
                  }),
                hold() {
                  holders += 1;
                  let held = true;
                  return () => {
                    if (held) release();
                    held = false;
                  };
                },
              }),
            {
              onResult: (answered) => (again ? 'ignored' : judge.onResult(answered)),
              onError(error) {
                again = isWorthRetrying(error) && mayRetry();
                return again ? 'ignored' : judge.onError(error);
              },
            },
          );
          measure(judge, judge.onResult(answer) === 'success' ? 'answered' : 'error');
          if (!again) return answer;
        } catch (error) {
          measure(judge, error instanceof CallerGoneError ? 'caller_gone' : reasonOf(error));
          if (!again) throw error;
        }
        metrics.upstreamRetried(name);
        await wait(Math.random() * retryJitterMs);
      }
    } finally {
      release();
    }
  }

  return {
    name,
    breaker,
    dispatcher,
    origin: base.origin,
    basePath: base.pathname.replace(/\/$/, ''),
    get inFlight() {
      return bulkhead.inFlight;
    },
    call,
    async get<Body>(path: string, { params, headers, raw, ...limits }: GetOptions = {}) {
      const { response } = await call(
        async ({ ms, tried, retriesAfter }) => {
          const response = await http
            .get<Body>(path, {
              headers: { ...contextHeaders(ms), ...traceHeaders(), ...authorizationHeader(), ...headers },
              timeout: ms,
              // Judged as an answer; rejected below.
              validateStatus: null,
              tried,
              ...(raw && { responseType: 'arraybuffer' }),
              ...(params !== undefined && { params }),
            })
            .catch((error: unknown) => {
              throw isTimeout(error) ? new UpstreamTimeoutError(name, ms, { cause: error }) : error;
            });
          const answer = { status: response.status, problem: problemOf(response) };
          retriesAfter(answer);
          return { ...answer, response };
        },
        { ...limits, retries: 1 },
      );
      if (response.status < 200 || response.status >= 300)
        throw statusError(raw ? { ...response, data: parsed(response.data) } : response);
      return response;
    },
  };
}

const always = (): boolean => true;

/** The share of the time that is kept for the way back, so that a service can still say why it has no answer. */
const reserve = 0.02;

/**
 * Headers that carry the context of a request, the one in hand by default, to the next service.
 * @param ms milliseconds that the call may take
 */
export function contextHeaders(
  ms: number,
  context: RequestContext | undefined = currentContext(),
): Record<string, string> {
  const correlationId = context?.correlationId;
  return {
    [headerNames.requestTimeout]: String(Math.max(1, Math.floor(ms * (1 - reserve)))),
    ...(correlationId !== undefined && { [headerNames.correlationId]: correlationId }),
  };
}

/**
 * Headers that carry the trace of the request in hand to the next service (W3C Trace Context, section 3.3.1.1; W3C Baggage). A request
 * that is forwarded has them as the client sent them.
 */
function traceHeaders(): Record<string, string> {
  const { traceparent, tracestate, baggage } = currentContext() ?? {};
  return {
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    ...(baggage !== undefined && { baggage }),
  };
}

/** JSON in a body that was left as it came; its text when it is none, as axios does. */
function parsed(body: unknown): unknown {
  const text = Buffer.isBuffer(body) ? body.toString('utf8') : '';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Says in whose name a call is made: the caller's of the request in hand. */
function authorizationHeader(): Record<string, string> {
  const authorization = currentContext()?.authorization;
  return authorization === undefined ? {} : { authorization };
}

function isTimeout(error: unknown): boolean {
  return axios.isAxiosError(error) && error.code === AxiosError.ECONNABORTED;
}

function problemOf(response: AxiosResponse): string | undefined {
  const value: unknown = response.headers[headerNames.problem];
  return typeof value === 'string' ? value : undefined;
}
