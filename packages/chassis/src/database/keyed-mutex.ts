import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';

/** Runs operations with the same key one after the other. */
export interface KeyedMutex {
  /** @throws Failure `deadline-exceeded` if the request deadline expires before the operation starts */
  run<T>(key: number, work: () => Promise<T>): Promise<T>;
}

/**
 * Creates a mutex per key within this process. Operations wait here instead of waiting for a row lock, where each would
 * hold a pool connection. Otherwise one client that often writes the same row could exhaust the pool. Each replica has
 * its own mutex.
 */
export function createKeyedMutex(): KeyedMutex {
  const last = new Map<number, Promise<void>>();
  return {
    async run(key, work) {
      const previous = last.get(key);
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      last.set(key, released);
      try {
        await previous;
        if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
        return await work();
      } finally {
        if (last.get(key) === released) last.delete(key);
        release();
      }
    },
  };
}
