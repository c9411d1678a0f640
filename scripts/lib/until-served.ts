import { setTimeout as sleep } from 'node:timers/promises';
import type { ServicePlan, SystemPlan } from './services.ts';

export interface UntilServedOptions {
  /** Ends the wait, when the services stop. */
  readonly signal: AbortSignal;
  /** 60,000 by default. */
  readonly deadlineMs?: number;
}

/** Milliseconds between two requests. The rate limit of the health endpoint allows ten a second. */
const pollMs = 100;

/**
 * Resolves with true when the gateway serves what the services have: its circuits may have opened while the services started. Resolves at
 * once if ROUTES_FILE is set, because another route table can have other paths and services. Resolves with false if `signal` ends the wait.
 * @throws Error when that takes longer than `deadlineMs`
 */
export async function untilServed(
  { services }: SystemPlan,
  { signal, deadlineMs = 60_000 }: UntilServedOptions,
): Promise<boolean> {
  const gateway = services.find(({ name }) => name === 'gateway');
  if (gateway === undefined || gateway.env.ROUTES_FILE) return !signal.aborted;
  const giveUpAt = performance.now() + deadlineMs;
  while (!signal.aborted) {
    if (await isServed(gateway, signal).catch(() => false)) return !signal.aborted;
    if (performance.now() > giveUpAt)
      throw new Error(`the gateway did not reach both services within ${deadlineMs} ms`);
    await sleep(pollMs, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

async function isServed({ env, url }: ServicePlan, signal: AbortSignal): Promise<boolean> {
  // The dashboard is for admins where there is authentication.
  const path = env.AUTH === 'off' ? '/api/dashboard' : '/api/health';
  const response = await fetch(`${url}${path}`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
  });
  const { data } = (await response.json()) as { data?: { degraded?: unknown; overall_status?: string } };
  return response.ok && data?.degraded === undefined && (data?.overall_status ?? 'healthy') === 'healthy';
}
