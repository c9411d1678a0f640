import { createClient } from '@redis/client';
import type { Lifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { RequestContext } from '@zerda/chassis/request-context';
import { inSpan } from '@zerda/chassis/tracing/in-span';
import { withTimeout } from '@zerda/chassis/with-timeout';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { PolicyMetrics } from '../metrics/policy-metrics.ts';
import type { Limiter, Limiters, LimitResult, Quota } from './limiter.ts';
import { memoryLimiters, toAllowed, toRejected } from './memory-limiters.ts';

export interface ValkeyLimitersOptions {
  /** URL of Valkey or Redis: `redis://user:password@host:6379`, or `rediss://` for TLS. */
  readonly url: string;
  readonly metrics: Pick<PolicyMetrics, 'limitsShared'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

/** Timeout of a command in milliseconds. Counting a request must not take longer than serving it. */
const commandTimeoutMs = 100;
/** Milliseconds without commands after a failure. */
const backoffMs = 1000;
/** Longest delay between connection attempts in milliseconds. */
const maxReconnectDelayMs = 2000;

/** Prefix of all keys, so that other applications can use the same Valkey. */
const keyPrefix = 'zerda:limit:';

/**
 * Creates limiters that count in Valkey across all replicas. While Valkey is unavailable or slow, each replica counts by itself and no
 * request fails. Every change is logged once and shown in the metric `rate_limits_shared`.
 */
export function createValkeyLimiters({ url, metrics, logger, lifecycle }: ValkeyLimitersOptions): Limiters {
  const client = createClient({
    url,
    // A command that cannot be sent now is counted locally instead of later.
    disableOfflineQueue: true,
    socket: {
      connectTimeout: maxReconnectDelayMs,
      reconnectStrategy: (attempts) => Math.min(50 * 2 ** Math.min(attempts, 10), maxReconnectDelayMs),
    },
  });
  /** Undefined until the first connection attempt ends. */
  let shared: boolean | undefined;
  let retryAt = 0;

  function setShared(value: boolean, error?: Error): void {
    if (shared === value) return;
    shared = value;
    metrics.limitsShared(value);
    if (value) logger.info('Valkey connected, rate limits shared');
    else logger.warn({ err: error }, 'Valkey unavailable, rate limits per replica');
  }
  function fail(error: Error): void {
    retryAt = performance.now() + backoffMs;
    setShared(false, error);
  }
  client.on('ready', () => {
    retryAt = 0;
    setShared(true);
  });
  client.on('error', fail);
  // The events above report the result of every attempt.
  client.connect().catch(() => undefined);
  lifecycle.onShutdown('Valkey', () => client.destroy());

  function create(name: string, quota: Quota): Limiter {
    const local = memoryLimiters.create(name, quota);
    const limiter = new RateLimiterRedis({
      storeClient: client,
      useRedisPackage: true,
      keyPrefix: keyPrefix + name,
      points: quota.requests,
      duration: quota.perSeconds,
      // Further requests above the quota are rejected without a command.
      inMemoryBlockOnConsumed: quota.requests + 1,
    });
    async function count(key: string, context?: RequestContext): Promise<LimitResult> {
      if (!client.isReady || performance.now() < retryAt) return local.count(key);
      try {
        // The client has no timeout for a sent command, so a hanging Valkey would block every request.
        const result = await inSpan(
          'counter',
          () => ({ name: 'count request' }),
          () =>
            withTimeout(limiter.consume(key).then(toAllowed, toRejected), commandTimeoutMs, () => {
              throw new Error(`no response within ${commandTimeoutMs} ms`);
            }),
          context,
        );
        setShared(true);
        return result;
      } catch (error) {
        fail(error as Error);
        return local.count(key);
      }
    }
    return { count };
  }
  return { create };
}
