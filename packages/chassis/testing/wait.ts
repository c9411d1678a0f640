import { setTimeout as wait } from 'node:timers/promises';

/**
 * Repeats an attempt until it neither throws nor returns false, and resolves with its result. The pause between two attempts grows
 * from 2 ms to 50 ms, so that it finds a short state.
 * @param what description of the condition for the error; the source of `attempt` by default
 * @param timeoutMs milliseconds after which no attempt is repeated; 30,000 by default
 * @throws Error with the description and the error of the last attempt
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  what = String(attempt),
  timeoutMs = 30_000,
): Promise<Exclude<T, false>> {
  const startedAt = performance.now();
  for (;;) {
    let cause: unknown;
    try {
      const result = await attempt();
      if (result !== false) return result as Exclude<T, false>;
    } catch (error) {
      cause = error;
    }
    const elapsedMs = performance.now() - startedAt;
    if (elapsedMs > timeoutMs) {
      const reason = cause instanceof Error ? `: ${cause.message}` : '';
      throw new Error(`Timed out after ${timeoutMs} ms waiting for ${what}${reason}`, { cause });
    }
    await wait(Math.min(50, Math.max(2, elapsedMs / 100)));
  }
}
