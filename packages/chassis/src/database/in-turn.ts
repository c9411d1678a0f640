import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';

/** Runs works that need the same row one after the other. */
export interface InTurn {
  /** @throws Failure `deadline-exceeded` when the request has no time left at its turn, and then nothing was run */
  run<T>(key: number, work: () => Promise<T>): Promise<T>;
}

/**
 * Works of one key wait here and not for the lock of the row, where each would hold a connection of the pool: one client that writes
 * one row at a high rate would make all other requests wait for connections. Replicas have turns of their own.
 */
export function createInTurn(): InTurn {
  const last = new Map<number, Promise<void>>();
  return {
    async run(key, work) {
      const before = last.get(key);
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      last.set(key, ended);
      try {
        await before;
        if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
        return await work();
      } finally {
        if (last.get(key) === ended) last.delete(key);
        end();
      }
    },
  };
}
