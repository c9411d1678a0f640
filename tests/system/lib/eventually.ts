import { setTimeout as wait } from 'node:timers/promises';

/**
 * Repeats `attempt` until it no longer throws, and returns what it returned.
 * @throws the last error of `attempt` once `deadlineMs` (default 30000) have passed.
 */
export async function eventually<T>(attempt: () => Promise<T> | T, deadlineMs = 30_000): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  while (true) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await wait(50);
    }
  }
}
