import { setTimeout as wait } from 'node:timers/promises';

/**
 * Repeats what may fail while things are away.
 * @param deadlineMs milliseconds after which it is not tried again; 20,000 by default
 * @throws what the last attempt has thrown
 */
export async function patiently<T>(attempt: () => Promise<T>, deadlineMs = 20_000): Promise<T> {
  const giveUpAt = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await wait(100);
    }
  }
}
