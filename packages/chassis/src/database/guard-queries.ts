import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database } from './database.ts';
import { toFailure } from './database-errors.ts';

/**
 * Guards the methods of an engine. They throw if they are called inside an open transaction of the same call chain, and a `Failure` if the
 * database is unavailable.
 */
export function guardQueries(
  engine: Pick<Database, 'query' | 'transaction'>,
): Pick<Database, 'query' | 'transaction'> {
  const transaction = new AsyncLocalStorage<true>();
  async function guard<T>(work: () => Promise<T>): Promise<T> {
    if (transaction.getStore())
      throw new Error('queries inside a transaction must use its tx, not the database');
    try {
      return await work();
    } catch (error) {
      throw toFailure(error);
    }
  }
  return {
    query: (work) => guard(() => engine.query(work)),
    transaction: (work) => guard(() => transaction.run(true, () => engine.transaction(work))),
  };
}
