import { createClient } from '@redis/client';
import type { Lifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { PolicyMetrics } from '@zerda/chassis/metrics/policy-metrics';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { Count, Limiter, Limiters, Quota } from './limiter.ts';
import { allowed, memoryLimiters, refused } from './memory-limiters.ts';

export interface ValkeyLimitersOptions {
  /** Where Valkey (or Redis) is: `redis://host:6379`, `rediss://` for TLS, with user and password where needed. */
  readonly url: string;
  readonly metrics: Pick<PolicyMetrics, 'limitsShared'>;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

/** Milliseconds that an answer is waited for. A request must not pay more for being counted than for being served. */
const patienceMs = 100;
/** Milliseconds in which nothing is asked of a Valkey that did not answer. */
const pauseMs = 1000;
/** Milliseconds between two attempts to connect at most. */
const longestPauseMs = 2000;

/** Keys of all counts, so that a Valkey can be shared with others. */
const keyPrefix = 'zerda:limit:';

/**
 * Counts in Valkey, for all replicas together; while it is away, or does not answer in time, each replica counts by
 * itself, and no request fails for it. What changes is logged once, and shown as `rate_limits_shared`.
 */
export function createValkeyLimiters({ url, metrics, logger, lifecycle }: ValkeyLimitersOptions): Limiters {
  const client = createClient({
    url,
    // What cannot be asked now is counted here, not later.
    disableOfflineQueue: true,
    socket: {
      connectTimeout: longestPauseMs,
      reconnectStrategy: (attempts) => Math.min(50 * 2 ** Math.min(attempts, 10), longestPauseMs),
    },
  });
  /** Undefined until the first attempt to connect has ended. */
  let shared: boolean | undefined;
  let askAgainAt = 0;

  function becomes(now: boolean, error?: Error): void {
    if (shared === now) return;
    shared = now;
    metrics.limitsShared(now);
    if (now) logger.info('limits are shared with other replicas: Valkey answers');
    else logger.warn({ err: error }, 'limits hold for this replica alone: Valkey is away');
  }
  function fail(error: Error): void {
    askAgainAt = performance.now() + pauseMs;
    becomes(false, error);
  }
  client.on('ready', () => {
    askAgainAt = 0;
    becomes(true);
  });
  client.on('error', fail);
  // Every further attempt is told by the events above.
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
      // Whoever is above it is refused without asking again.
      inMemoryBlockOnConsumed: quota.requests + 1,
    });
    async function count(key: string): Promise<Count> {
      if (!client.isReady || performance.now() < askAgainAt) return local.count(key);
      try {
        const counted = await inTime(limiter.consume(key).then(allowed, refused));
        becomes(true);
        return counted;
      } catch (error) {
        fail(error as Error);
        return local.count(key);
      }
    }
    return { count };
  }
  return { create };
}

/** The client has no time of its own for a command that was sent: a Valkey that hangs would hold every request. */
function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${patienceMs} ms`)), patienceMs);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
