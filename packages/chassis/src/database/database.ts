import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';

/** drizzle's query builder for both engines. */
export type Queries = PgDatabase<PgQueryResultHKT>;

/** A service's database. */
export interface Database {
  readonly engine: 'postgres' | 'pglite';
  /** Maximum milliseconds of a statement that replaces the statement timeout. A longer one could make its connection count as dead. */
  readonly maxStatementMs: number;
  /**
   * Runs queries outside of a transaction.
   * @throws Error inside `transaction`: on PGlite, which has one connection, the query would wait forever
   */
  query<T>(work: (db: Queries) => Promise<T>): Promise<T>;
  /**
   * Runs a transaction and commits it when `work` and the statements that it has deferred (`deferStatement`) resolve. Retries `work` after
   * a deadlock or serialization failure.
   * @throws Failure `database-unavailable` if the commit is not confirmed, Error if nested
   */
  transaction<T>(work: (tx: Queries) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
