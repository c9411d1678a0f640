import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';

/** drizzle's query builder, the same for both engines. */
export type Queries = PgDatabase<PgQueryResultHKT>;

/** A service's database. */
export interface Database {
  readonly engine: 'postgres' | 'pglite';
  /** Milliseconds that a statement may take at most, whatever its own limit: after that its connection counts as dead. */
  readonly maxStatementMs: number;
  /**
   * Queries outside of a transaction.
   * @throws Error at once inside `write`: on PGlite, which has one connection, it would wait for itself for ever
   */
  read<T>(work: (db: Queries) => Promise<T>): Promise<T>;
  /**
   * One transaction, committed when `work` resolves. A deadlock or serialization failure runs `work` again.
   * @throws Failure `database-unavailable` when nothing is known to be committed, Error when nested
   */
  write<T>(work: (tx: Queries) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
