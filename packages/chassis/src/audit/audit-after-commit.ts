import type { Database, Queries } from '../database/database.ts';
import type { AuditEntry, AuditLog } from './audit-log.ts';

/** An action that a transaction performs. */
export type CommittedAction = Omit<AuditEntry, 'outcome' | 'reason'>;

/** Actions of open transactions. */
const actions = new WeakMap<Queries, CommittedAction[]>();

/**
 * Writes audit lines when the transaction has committed, for changes without a request, such as those of event handlers. If the
 * transaction is rolled back or retried, the lines of that attempt are not written. Requires a database of `auditingAfterCommit`.
 */
export function auditAfterCommit(tx: Queries, committed: readonly CommittedAction[]): void {
  actions.get(tx)?.push(...committed);
}

/** Returns a database whose transactions write the lines of `auditAfterCommit`. */
export function auditingAfterCommit(database: Database, audit: AuditLog): Database {
  return {
    ...database,
    async transaction(work) {
      let committed: CommittedAction[] = [];
      const result = await database.transaction((tx) => {
        committed = [];
        actions.set(tx, committed);
        return work(tx);
      });
      for (const action of committed) audit.write({ ...action, outcome: 'succeeded' });
      return result;
    },
  };
}
