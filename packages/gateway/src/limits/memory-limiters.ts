import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Count, Limiter, Limiters, Quota } from './limiter.ts';

/** Counts in this process: with more replicas, each gives a caller as much. */
export const memoryLimiters: Limiters = { create: createMemoryLimiter };

function createMemoryLimiter(name: string, { requests, perSeconds }: Quota): Limiter {
  const limiter = new RateLimiterMemory({ keyPrefix: name, points: requests, duration: perSeconds });
  return { count: (key) => limiter.consume(key).then(allowed, refused) };
}

/** What the library's limiters resolve with. */
export function allowed({ remainingPoints, msBeforeNext }: RateLimiterRes): Count {
  return { allowed: true, remaining: remainingPoints, resetMs: msBeforeNext };
}

/**
 * What they reject with when there have been too many.
 * @throws the error, when counting itself has failed
 */
export function refused(reason: unknown): Count {
  if (!(reason instanceof RateLimiterRes)) throw reason;
  return { allowed: false, remaining: 0, resetMs: reason.msBeforeNext };
}
