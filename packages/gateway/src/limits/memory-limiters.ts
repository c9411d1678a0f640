import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Limiter, Limiters, LimitResult, Quota } from './limiter.ts';

/** Limiters that count in this process: every replica allows the whole quota. */
export const memoryLimiters: Limiters = { create: createMemoryLimiter };

function createMemoryLimiter(name: string, { requests, perSeconds }: Quota): Limiter {
  const limiter = new RateLimiterMemory({ keyPrefix: name, points: requests, duration: perSeconds });
  return { count: (key) => limiter.consume(key).then(toAllowed, toRejected) };
}

/** Converts the value that a limiter of rate-limiter-flexible resolves with. */
export function toAllowed({ remainingPoints, msBeforeNext }: RateLimiterRes): LimitResult {
  return { allowed: true, remaining: remainingPoints, resetMs: msBeforeNext };
}

/**
 * Converts the reason that a limiter of rate-limiter-flexible rejects with when the quota is used up.
 * @throws the reason if it is an error of counting
 */
export function toRejected(reason: unknown): LimitResult {
  if (!(reason instanceof RateLimiterRes)) throw reason;
  return { allowed: false, remaining: 0, resetMs: reason.msBeforeNext };
}
