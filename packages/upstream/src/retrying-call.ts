import { setTimeout as wait } from 'node:timers/promises';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import { roundMs } from '@zerda/chassis/logging/round-ms';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { currentContext, type RequestContext, requestLogFields } from '@zerda/chassis/request-context';
import type { Attributes } from '@zerda/chassis/tracing/catalog';
import type { Span } from '@zerda/chassis/tracing/span';
import { Attempt } from './attempt.ts';
import type { Bulkhead } from './bulkhead.ts';
import {
  type AttemptResult,
  BulkheadFullError,
  isRetryable,
  metricsOutcomeOf,
  outcomeOf,
  type UpstreamResponse,
} from './call-outcome.ts';
import { CallSlot } from './call-slot.ts';
import { type CircuitBreaker, CircuitOpenError } from './circuit-breaker.ts';
import { createRetryBudget } from './retry-budget.ts';

export interface CallOptions {
  /** Context of the request that the call belongs to; the current one by default. */
  readonly context?: RequestContext | undefined;
  /** Timeout in milliseconds instead of that of the upstream. */
  readonly timeoutMs?: number | undefined;
  /**
   * Milliseconds after which a timeout or a disconnect of the caller counts as a failure of the upstream; half of the timeout by default.
   */
  readonly slowMs?: number | undefined;
  /** Method of the request, for spans; `GET` by default. */
  readonly method?: string | undefined;
  /** Path pattern of the request, for spans. */
  readonly template?: string | undefined;
  /** Maximum number of retries; 0 by default. */
  readonly retries?: number;
  /** Returns whether the call can still be repeated, for example false once its body is consumed. Always true by default. */
  readonly repeatable?: () => boolean;
}

/** Calls an upstream and retries the call if another address may respond. See `Upstream.call`. */
export type RetryingCall = <Response extends UpstreamResponse>(
  work: (attempt: Attempt) => Promise<Response>,
  options?: CallOptions,
) => Promise<Response>;

export interface RetryingCallOptions {
  /** Name of the upstream. */
  readonly name: string;
  /** Timeout of a call in milliseconds, within the deadline of its request. */
  readonly timeoutMs: number;
  readonly breaker: CircuitBreaker;
  readonly bulkhead: Bulkhead;
  /** Returns the maximum number of calls in flight. */
  readonly maxInFlight: () => number;
  readonly metrics: Pick<Metrics, 'upstreamCall' | 'upstreamRetried'>;
  readonly logger: Logger;
  /** Attributes of the server in spans. */
  readonly server: Attributes;
}

/** Maximum random delay before a retry in milliseconds, so that retries of several callers do not coincide. */
const retryJitterMs = 25;

/** Minimum remaining time for a retry in milliseconds: the delay and as much for the call. */
const minRetryMs = 2 * retryJitterMs;

export function createRetryingCall(upstream: RetryingCallOptions): RetryingCall {
  const { name, breaker, bulkhead, metrics, logger } = upstream;
  const budget = createRetryBudget();

  return async function call<Response extends UpstreamResponse>(
    work: (attempt: Attempt) => Promise<Response>,
    {
      context = currentContext(),
      timeoutMs = upstream.timeoutMs,
      slowMs = timeoutMs / 2,
      retries = 0,
      repeatable = always,
      method = 'GET',
      template,
    }: CallOptions = {},
  ): Promise<Response> {
    const deadline = Deadline.after(Math.min(timeoutMs, context?.deadline.remainingMs() ?? timeoutMs));
    const client = context?.client;
    if (!bulkhead.acquire(upstream.maxInFlight(), client)) {
      context?.span?.addEvent('bulkhead full', { 'zerda.upstream': name });
      throw new BulkheadFullError(name, bulkhead.inFlight);
    }
    const slot = new CallSlot(bulkhead, client);
    const tried = new Set<string>();
    budget.deposit();
    try {
      for (let retriesLeft = retries; ; retriesLeft -= 1) {
        const ms = deadline.remainingMs();
        if (ms === 0) throw new Failure('deadline-exceeded');
        const { state } = breaker;
        const permitted = breaker.start();
        if (permitted instanceof CircuitOpenError) {
          metrics.upstreamCall(name, 'circuit_open', 0, context?.span);
          context?.span?.addEvent('circuit open', { 'zerda.upstream': name });
          throw permitted;
        }
        const span = context?.span?.startChild('attempt', {
          name: template === undefined ? method : `${method} ${template}`,
          attributes: {
            'http.request.method': method,
            'http.request.resend_count': retries === retriesLeft ? undefined : retries - retriesLeft,
            'url.template': template,
            'zerda.upstream': name,
            'zerda.circuit.state': state,
            // Last: V8 takes 3 µs for an object with further members after a spread.
            ...upstream.server,
          },
        });
        const attempt = new Attempt(slot, tried, {
          ms,
          probe: permitted.probe,
          last: retriesLeft === 0,
          traceparent: span?.traceparent ?? context?.traceparent,
          onConnected: permitted.probe ? () => breaker.recordConnection(permitted) : undefined,
        });
        let result: AttemptResult<Response>;
        try {
          result = { response: await work(attempt) };
        } catch (error) {
          result = { error };
        }
        if (span !== undefined) endSpan(span, attempt, result);
        const willRetry =
          !attempt.last &&
          isRetryable(result) &&
          repeatable() &&
          deadline.remainingMs() > minRetryMs &&
          breaker.state === 'closed' &&
          budget.withdraw();
        breaker.record(permitted, willRetry ? 'ignored' : outcomeOf(result, attempt.elapsedMs, slowMs));
        metrics.upstreamCall(name, metricsOutcomeOf(result), attempt.elapsedMs / 1000, span);
        if (logger.isLevelEnabled('debug'))
          logger.debug(
            {
              ...(context && requestLogFields(context)),
              upstream: name,
              address: addressOf(attempt),
              attempt: retries - retriesLeft + 1,
              circuit: state,
              status: result.response?.status,
              outcome: metricsOutcomeOf(result),
              will_retry: willRetry,
              duration_ms: roundMs(attempt.elapsedMs),
            },
            'upstream attempt',
          );
        if (!willRetry) {
          if (result.response === undefined) throw result.error;
          result.response.held?.pass();
          return result.response;
        }
        result.response?.held?.discard();
        metrics.upstreamRetried(name);
        await wait(Math.random() * retryJitterMs);
      }
    } finally {
      slot.release();
    }
  };
}

const always = (): boolean => true;

/** Returns the address of an attempt, which the balancer adds to the set. A fallback to a tried address leaves the set unchanged. */
function addressOf({ tried }: Attempt): string | undefined {
  return [...tried].at(-1);
}

/** Ends the span of an attempt with its result. */
function endSpan(span: Span, attempt: Attempt, result: AttemptResult): void {
  span.set({
    'network.peer.address': addressOf(attempt),
    'http.response.status_code': result.response?.status,
  });
  if (result.response === undefined) span.fail(metricsOutcomeOf(result));
  else if (result.response.status >= 400) span.fail(String(result.response.status));
  span.end();
}
