import type { Queries } from './database.ts';
import { driverError } from './database-errors.ts';

/** Statements of open transactions that only the commit waits for. */
const deferred = new WeakMap<Queries, Promise<unknown>[]>();

/**
 * Lets a transaction wait for a statement before its commit instead of now, so that the statement shares a round trip with later ones. If
 * it fails, the transaction is rolled back and rejects with its error. Waits for the statement outside of `database.transaction`, and in one
 * whose statements cannot share round trips.
 * @param statement a statement that is already sent
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

/** Lets `deferStatement` defer the statements of a transaction. */
export function startDeferring(tx: Queries): void {
  deferred.set(tx, []);
}

/** Waits for the deferred statements of a transaction. @throws the error of the first that failed */
export async function settleDeferred(tx: Queries): Promise<void> {
  await Promise.all(deferred.get(tx) ?? []);
}

/**
 * Returns the error that made a transaction fail. After a deferred statement has failed, PostgreSQL rejects the later ones, so that the
 * error of the transaction's work can be a consequence.
 */
export async function rootErrorOf(tx: Queries, error: unknown): Promise<unknown> {
  if (!isConsequence(error)) return error;
  const outcomes = await Promise.allSettled(deferred.get(tx) ?? []);
  const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  return errors.find((candidate) => !isConsequence(candidate)) ?? error;
}

/** in_failed_sql_transaction, and invalid_sql_statement_name: the statement was to be prepared in the failed transaction. */
const consequences = new Set(['25P02', '26000']);

function isConsequence(error: unknown): boolean {
  return consequences.has(driverError(error).code ?? '');
}
