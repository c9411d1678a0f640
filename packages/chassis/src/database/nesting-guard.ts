import { AsyncLocalStorage } from 'node:async_hooks';

/** Keeps a database from being used beside the transaction that is open in the same flow of calls. */
export interface NestingGuard {
  /** @throws Error inside of `transaction` */
  outside(): void;
  /** Runs the transaction; everything it starts is inside. */
  transaction<T>(work: () => Promise<T>): Promise<T>;
}

export function createNestingGuard(): NestingGuard {
  const open = new AsyncLocalStorage<true>();
  return {
    outside() {
      if (open.getStore())
        throw new Error('a query inside of write must go through its tx, not through the database');
    },
    transaction(work) {
      return open.run(true, work);
    },
  };
}
