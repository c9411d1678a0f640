import { headerNames } from '@zerda/contracts/protocol/headers';
import axios, { AxiosError, type AxiosResponse } from 'axios';
import { type Dispatcher, Pool } from 'undici';
import { Failure } from '../failure.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { currentContext } from '../request-context.ts';
import {
  type CircuitBreaker,
  type CircuitBreakerSettings,
  CircuitOpenError,
  createCircuitBreaker,
  type Judge,
  type Outcome,
} from './circuit-breaker.ts';
import { createUndiciAdapter } from './undici-adapter.ts';

export interface UpstreamOptions {
  /** Name of the service in metrics, logs and errors. */
  readonly name: string;
  /** Where it is; a path in it is put before every path called. */
  readonly baseUrl: string;
  /** Milliseconds a call may take when the request in hand allows as much. */
  readonly timeoutMs: number;
  /** Connections at most; calls above wait for one. */
  readonly maxConnections: number;
  readonly circuit: CircuitBreakerSettings;
  readonly metrics: Pick<Metrics, 'circuitEvent' | 'circuitState' | 'upstreamCall' | 'pool'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

/** How long one call may take. */
export interface Allowance {
  /** Milliseconds from now, above zero. */
  readonly ms: number;
  /** The caller allows clearly less than the upstream is normally given: running out says nothing about it. */
  readonly shortened: boolean;
}

/** What the circuit breaker looks at in an answer. */
export interface UpstreamAnswer {
  readonly status: number;
  /** Value of the `X-Problem` header. */
  readonly problem: string | undefined;
}

export interface GetOptions {
  /** Milliseconds this call may take instead of the upstream's own time. */
  readonly timeoutMs?: number;
  /** Query of the URL. */
  readonly params?: Readonly<Record<string, string | number>>;
}

/** A service this one calls: one pool of kept-alive connections and one circuit breaker for all calls to it. */
export interface Upstream {
  readonly name: string;
  readonly breaker: CircuitBreaker;
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  /** Path of the base URL, without a slash at its end. */
  readonly basePath: string;
  /**
   * Reads one answer. Statuses outside of 2xx reject with axios's error, whose `response` is the answer.
   * @throws CircuitOpenError, UpstreamTimeoutError, AxiosError, or Failure `deadline-exceeded` when no time is left
   */
  get<Body>(path: string, options?: GetOptions): Promise<AxiosResponse<Body>>;
  /**
   * Makes any other kind of call under the circuit breaker. `work` must end within its allowance, by throwing
   * `UpstreamTimeoutError` when that runs out and `CallerGoneError` when nobody waits any more.
   */
  call<Answer extends UpstreamAnswer>(
    work: (allowance: Allowance) => Promise<Answer>,
    options?: Pick<GetOptions, 'timeoutMs'>,
  ): Promise<Answer>;
}

/** The upstream did not answer in the time the call had. */
export class UpstreamTimeoutError extends Error {
  /** As `Allowance.shortened`. */
  readonly shortened: boolean;

  constructor(upstream: string, { ms, shortened }: Allowance, options?: ErrorOptions) {
    super(`${upstream} did not answer within ${ms} ms`, options);
    this.name = 'UpstreamTimeoutError';
    this.shortened = shortened;
  }
}

/** Whoever asked has gone; there is nobody to answer. */
export class CallerGoneError extends Error {
  constructor() {
    super('the caller went away');
    this.name = 'CallerGoneError';
  }
}

/** Why a call has no usable answer, in a word. */
export type UnavailableReason = 'circuit_open' | 'timeout' | 'unreachable' | 'error';

export function createUpstream(options: UpstreamOptions): Upstream {
  const { name, metrics } = options;
  const base = new URL(options.baseUrl);
  const basePath = base.pathname.replace(/\/$/, '');
  const dispatcher = new Pool(base.origin, {
    connections: options.maxConnections,
    pipelining: 1,
    connect: { timeout: Math.min(options.timeoutMs, longestConnectMs) },
    // Each call brings its own time to the head of the answer.
    headersTimeout: 0,
    // Between two pieces of a body that is passed on as it comes.
    bodyTimeout: options.timeoutMs,
  });
  const breaker = createCircuitBreaker({ ...options.circuit, name, metrics, logger: options.logger });
  const http = axios.create({
    adapter: createUndiciAdapter(dispatcher),
    baseURL: base.href,
    allowAbsoluteUrls: false,
  });

  metrics.pool(name, () => {
    const { connected, running, queued } = dispatcher.stats;
    return { size: connected, idle: Math.max(0, connected - running), waiting: queued };
  });
  options.lifecycle.onShutdown(`${name} connections`, async () => {
    breaker.shutdown();
    // Servers are closed before: nobody waits for what may still be in flight.
    await dispatcher.destroy();
  });

  async function call<Answer extends UpstreamAnswer>(
    work: (allowance: Allowance) => Promise<Answer>,
    { timeoutMs = options.timeoutMs }: Pick<GetOptions, 'timeoutMs'> = {},
  ): Promise<Answer> {
    const allowance = allow(timeoutMs);
    if (allowance.ms === 0) throw new Failure('deadline-exceeded');
    const startedAt = performance.now();
    const judge = judgeWithin(allowance);
    let outcome = 'error';
    try {
      const answer = await breaker.run<Answer>(() => work(allowance), judge);
      outcome = judge.onResult(answer) === 'success' ? 'answered' : 'error';
      return answer;
    } catch (error) {
      outcome = error instanceof CallerGoneError ? 'caller_gone' : reasonOf(error);
      throw error;
    } finally {
      metrics.upstreamCall(name, outcome, (performance.now() - startedAt) / 1000);
    }
  }

  return {
    name,
    breaker,
    dispatcher,
    origin: base.origin,
    basePath,
    call,
    async get<Body>(path: string, { params, ...limits }: GetOptions = {}) {
      const { response } = await call(async (allowance) => {
        const response = await http
          .get<Body>(path, {
            headers: contextHeaders(allowance),
            timeout: allowance.ms,
            // Judged as an answer; rejected below.
            validateStatus: null,
            ...(params !== undefined && { params }),
          })
          .catch((error: unknown) => {
            throw isTimeout(error) ? new UpstreamTimeoutError(name, allowance, { cause: error }) : error;
          });
        return { status: response.status, problem: problemOf(response), response };
      }, limits);
      if (response.status < 200 || response.status >= 300) throw statusError(response);
      return response;
    },
  };
}

/** A connection that takes longer will hardly come; another attempt might. */
const longestConnectMs = 2000;

/** The part of the normal time below which a caller is held to have shortened it. Hops take a little from it too. */
const fullShare = 0.9;

function allow(timeoutMs: number): Allowance {
  const left = currentContext()?.deadline.remainingMs() ?? timeoutMs;
  return { ms: Math.min(left, timeoutMs), shortened: left < timeoutMs * fullShare };
}

/** The share of the time that is kept for the way back, so that a service can still say why it has no answer. */
const reserve = 0.02;

/** Headers that carry the context of the request in hand to the next service. */
export function contextHeaders({ ms }: Allowance): Record<string, string> {
  const correlationId = currentContext()?.correlationId;
  return {
    [headerNames.requestTimeout]: String(Math.max(1, Math.floor(ms * (1 - reserve)))),
    ...(correlationId !== undefined && { [headerNames.correlationId]: correlationId }),
  };
}

/**
 * The upstream fails when it does not answer in its time, cannot be reached, or answers 5xx of its own. It does not
 * fail by a 4xx, nor by telling that what it depends on is away; and a caller's haste or leave says nothing.
 */
function judgeWithin(allowance: Allowance): Judge<UpstreamAnswer> {
  return {
    onResult({ status, problem }) {
      if (status < 500 || problem === 'dependency-unavailable') return 'success';
      return status === 504 && allowance.shortened ? 'ignored' : 'failure';
    },
    onError: judgeError,
  };
}

function judgeError(error: unknown): Outcome {
  if (error instanceof UpstreamTimeoutError) return error.shortened ? 'ignored' : 'failure';
  if (error instanceof CallerGoneError || error instanceof Failure) return 'ignored';
  // Refused by the client library before anything was sent.
  if (codeOf(error) === 'UND_ERR_INVALID_ARG') return 'ignored';
  return 'failure';
}

const connectionErrors = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/** Why a call to an upstream has no usable answer, told from what it threw. */
export function reasonOf(error: unknown): UnavailableReason {
  if (error instanceof CircuitOpenError) return 'circuit_open';
  if (error instanceof UpstreamTimeoutError) return 'timeout';
  if (error instanceof Failure && error.code === 'deadline-exceeded') return 'timeout';
  return connectionErrors.has(codeOf(error) ?? '') ? 'unreachable' : 'error';
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function isTimeout(error: unknown): boolean {
  return axios.isAxiosError(error) && error.code === AxiosError.ECONNABORTED;
}

function problemOf(response: AxiosResponse): string | undefined {
  const value: unknown = response.headers[headerNames.problem];
  return typeof value === 'string' ? value : undefined;
}

function statusError(response: AxiosResponse): AxiosError {
  const { status, config } = response;
  const code = status >= 400 && status < 500 ? AxiosError.ERR_BAD_REQUEST : AxiosError.ERR_BAD_RESPONSE;
  return new AxiosError(`Request failed with status code ${status}`, code, config, undefined, response);
}
