import type { Queries } from './database.ts';

/** Statements of open transactions that only the commit waits for. */
const deferred = new WeakMap<Queries, Promise<unknown>[]>();

/**
 * Lets a transaction wait for a statement before its commit instead of now, so that the statement shares a round trip with later ones. If
 * it fails, the transaction is rolled back and rejects with its error. Outside of `database.transaction`, waits for the statement.
 */
export async function deferStatement(tx: Queries, statement: Promise<unknown>): Promise<void> {
  const statements = deferred.get(tx);
  if (statements === undefined) {
    await statement;
    return;
  }
  // If the transaction fails before its commit, the statement is not awaited.
  statement.catch(() => undefined);
  statements.push(statement);
}

/** Lets `deferStatement` defer statements of a transaction. Returns the list of its statements. */
export function startDeferring(tx: Queries): readonly Promise<unknown>[] {
  const statements: Promise<unknown>[] = [];
  deferred.set(tx, statements);
  return statements;
}
