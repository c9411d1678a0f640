import type { Lifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { currentContext, type RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import axios, { AxiosError, type AxiosResponse } from 'axios';
import type { AttemptHeaders } from './attempt.ts';
import { type Balancer, type BalancerOptions, createBalancer } from './balancer.ts';
import { Bulkhead } from './bulkhead.ts';
import { UpstreamTimeoutError } from './call-outcome.ts';
import { type CircuitBreaker, type CircuitBreakerSettings, createCircuitBreaker } from './circuit-breaker.ts';
import {
  type CallOptions,
  createRetryingCall,
  type RetryingCall,
  type RetryingCallOptions,
} from './retrying-call.ts';
import { createUndiciAdapter, statusError } from './undici-adapter.ts';

export interface UpstreamOptions {
  /** Name of the service in metrics, logs and errors. */
  readonly name: string;
  /** Base URL. Its path prefixes the path of every call. */
  readonly baseUrl: string;
  /** Timeout of a call in milliseconds, within the deadline of the current request. */
  readonly timeoutMs: number;
  /** Maximum number of connections per address; further calls wait. */
  readonly maxConnections: number;
  /**
   * Maximum number of calls in flight, until the end of their responses. The default is the maximum number of connections, because a call
   * that waits for a connection uses up its timeout.
   */
  readonly maxInFlight?: number;
  readonly circuit: CircuitBreakerSettings;
  /** Lookup and ejection options of the balancer. */
  readonly balancing?: Pick<BalancerOptions, 'lookups' | 'ejection'>;
  readonly metrics: Pick<
    Metrics,
    | 'circuitEvent'
    | 'circuitState'
    | 'upstreamCall'
    | 'upstreamRetried'
    | 'upstreamInFlight'
    | 'upstreamAddresses'
    | 'pool'
  >;
  readonly logger: Logger;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

export interface GetOptions extends Pick<CallOptions, 'timeoutMs' | 'slowMs' | 'template'> {
  /** Query parameters. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** Additional headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether to return the body of a 2xx response as a `Buffer`; by default JSON is parsed. */
  readonly raw?: boolean;
}

/** A service that this one calls, with keep-alive connections to all its addresses and one circuit breaker. */
export interface Upstream {
  readonly name: string;
  readonly breaker: CircuitBreaker;
  readonly dispatcher: Balancer;
  readonly origin: string;
  /** Path of the base URL, without a trailing slash. */
  readonly basePath: string;
  /** Number of calls in flight. */
  readonly inFlight: number;
  /**
   * Sends a GET request and returns the response. Other statuses than 2xx reject with an AxiosError that has the `response`.
   * @throws CircuitOpenError, BulkheadFullError, UpstreamTimeoutError, AxiosError, or Failure `deadline-exceeded` if no time is left
   */
  get<Body>(path: string, options?: GetOptions): Promise<AxiosResponse<Body>>;
  /**
   * Makes any other call within its bulkhead and circuit breaker, which records only the last attempt of a retried call. `work` must
   * respect its timeout: it throws `UpstreamTimeoutError` at the timeout and `CallerDisconnectedError` if the caller disconnects.
   * @throws what `work` throws, CircuitOpenError, BulkheadFullError, or Failure `deadline-exceeded`
   */
  readonly call: RetryingCall;
}

/** Maximum connect timeout in milliseconds. After it, a retry is more promising. */
const maxConnectMs = 2000;

export function createUpstream(options: UpstreamOptions): Upstream {
  const { name, metrics, logger } = options;
  const base = new URL(options.baseUrl);
  const breaker = createCircuitBreaker({ ...options.circuit, name, metrics, logger });
  const dispatcher = createBalancer({
    ...options.balancing,
    origin: base.origin,
    logger,
    connections: options.maxConnections,
    pipelining: 1,
    connect: { timeout: Math.min(options.timeoutMs, maxConnectMs) },
    // Each call has its own timeout.
    headersTimeout: 0,
    // Maximum time between two chunks of a streamed body.
    bodyTimeout: options.timeoutMs,
    onAddressAdded: () => breaker.recordNewAddress(),
  });
  const bulkhead = new Bulkhead();
  const call = createRetryingCall({
    name,
    timeoutMs: options.timeoutMs,
    breaker,
    bulkhead,
    maxInFlight: () => options.maxInFlight ?? options.maxConnections * Math.max(1, dispatcher.addressCount),
    metrics,
    logger,
    server: serverOf(base),
  });
  const http = axios.create({
    adapter: createUndiciAdapter(dispatcher),
    baseURL: base.href,
    allowAbsoluteUrls: false,
  });

  metrics.upstreamInFlight(name, () => bulkhead.inFlight);
  metrics.upstreamAddresses(name, () => {
    const { addresses } = dispatcher.stats;
    const ejected = addresses.filter(({ ejectedUntil }) => ejectedUntil !== undefined).length;
    return { available: addresses.length - ejected, ejected };
  });
  metrics.pool(name, () => {
    const { connected, running, queued } = dispatcher.stats;
    return {
      size: connected,
      idle: Math.max(0, connected - running),
      waiting: queued,
      max: options.maxConnections * dispatcher.addressCount,
    };
  });
  options.lifecycle.onShutdown(`${name} connections`, async () => {
    breaker.shutdown();
    // Servers are already closed, so no client waits for calls in flight.
    await dispatcher.destroy();
  });

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
        async (attempt) => {
          const { ms, tried, onConnected } = attempt;
          const response = await http
            .get<Body>(path, {
              headers: { ...asRecord(contextHeaders(attempt)), ...authorizationHeader(), ...headers },
              timeout: ms,
              // The circuit breaker needs the status. Other statuses than 2xx reject below.
              validateStatus: null,
              tried,
              onConnected,
              ...(raw && { responseType: 'arraybuffer' }),
              ...(params !== undefined && { params }),
            })
            .catch((error: unknown) => {
              throw isTimeout(error) ? new UpstreamTimeoutError(name, ms, { cause: error }) : error;
            });
          return { status: response.status, problem: problemOf(response), response };
        },
        { ...limits, retries: 1, method: 'GET' },
      );
      if (response.status < 200 || response.status >= 300)
        throw statusError(raw ? { ...response, data: parseBody(response.data) } : response);
      return response;
    },
  };
}

/** Returns the attributes of the server in spans. */
function serverOf({ hostname, port, protocol }: URL): RetryingCallOptions['server'] {
  return {
    'server.address': hostname.replace(/^\[|\]$/g, ''),
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
  };
}

/** Fraction of the timeout that is reserved for the response, so that a service can still report why it fails. */
const reservedShare = 0.02;

/**
 * Returns the headers that pass the timeout, the correlation id and the trace to the next service (W3C Trace Context; W3C Baggage): name,
 * value, name, value.
 * @param attempt attempt of the call
 * @param context context of the request; the current one by default
 */
export function contextHeaders(
  { ms, traceparent }: AttemptHeaders,
  context: RequestContext | undefined = currentContext(),
): string[] {
  const headers = [headerNames.requestTimeout, String(Math.max(1, Math.floor(ms * (1 - reservedShare))))];
  if (context === undefined) return headers;
  const { correlationId, tracestate, baggage } = context;
  headers.push(headerNames.correlationId, correlationId);
  if (traceparent !== undefined) headers.push('traceparent', traceparent);
  if (tracestate !== undefined) headers.push('tracestate', tracestate);
  if (baggage !== undefined) headers.push('baggage', baggage);
  return headers;
}

function asRecord(pairs: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (let index = 0; index < pairs.length; index += 2) record[pairs[index] ?? ''] = pairs[index + 1] ?? '';
  return record;
}

/** Parses a raw body as JSON; returns the text if it is not JSON, like axios. */
function parseBody(body: unknown): unknown {
  const text = Buffer.isBuffer(body) ? body.toString('utf8') : '';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Returns the `Authorization` header of the current request, so that the call is made on behalf of its caller. */
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
