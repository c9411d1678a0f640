import type { SQL } from 'drizzle-orm';
import {
  PgDialect,
  type PgPreparedQuery,
  type PgSession,
  type PreparedQueryConfig,
} from 'drizzle-orm/pg-core';
import type { Queries } from './database.ts';

/** Values by the names of their placeholders. */
export type PlaceholderValues = Readonly<Record<string, unknown>>;

/** A query of drizzle's builder. */
interface Buildable<Result> {
  prepare(name: string): { execute(values?: Record<string, unknown>): Promise<Result> };
}

/** Makes the queries nameless: `PreparingClient` names them if prepared statements are on. */
const noName = '';

/**
 * Returns a function that runs a query of drizzle's builder with values for its placeholders (`sql.placeholder`). The query is built once
 * for each connection instead of once for each call: building it takes more CPU time than sending it.
 */
export function prepareQuery<Result>(
  build: (db: Queries) => Buildable<Result>,
): (db: Queries, values?: PlaceholderValues) => Promise<Result> {
  const prepared = perSession((_session, db) => build(db).prepare(noName));
  return (db, values) => prepared(db).execute(values);
}

/**
 * Returns a function that runs a statement with values for its placeholders and returns its rows. As `rowsOf`, but the text is made once.
 * The caller is responsible for the row type; timestamps are text.
 */
export function prepareStatement<Row>(
  statement: SQL,
): (db: Queries, values?: PlaceholderValues) => Promise<Row[]> {
  const query = new PgDialect().sqlToQuery(statement);
  const prepared = perSession(
    (session) =>
      session.prepareQuery(query, undefined, noName, false) as PgPreparedQuery<
        PreparedQueryConfig & { execute: { rows: Row[] } }
      >,
  );
  return async (db, values) => (await prepared(db).execute(values)).rows;
}

/** Returns a function that calls `create` once for each session, which is the client of one connection or of the pool. */
function perSession<Result>(create: (session: PgSession, db: Queries) => Result): (db: Queries) => Result {
  const results = new WeakMap<object, Result>();
  return (db) => {
    const { session } = db._;
    let result = results.get(session);
    if (result === undefined) {
      result = create(session as unknown as PgSession, db);
      results.set(session, result);
    }
    return result;
  };
}
