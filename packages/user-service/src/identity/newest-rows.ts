import type { Queries } from '@zerda/chassis/database/database';
import { and, desc, eq, inArray } from 'drizzle-orm';
import type { AnyPgColumn, PgTable } from 'drizzle-orm/pg-core';

/** Table and columns of rows that belong to a user. */
export interface RowsOfUser {
  readonly table: PgTable;
  readonly userId: AnyPgColumn;
  /** Identifies a row among the rows of its user. */
  readonly key: AnyPgColumn;
  /** Time that orders the rows. */
  readonly at: AnyPgColumn;
}

/** Deletes all rows of a user except the newest ones. @param count number of rows to keep */
export async function deleteOlderRows(
  tx: Queries,
  { table, userId: userColumn, key, at }: RowsOfUser,
  userId: number,
  count: number,
): Promise<void> {
  const older = tx.select({ key }).from(table).where(eq(userColumn, userId)).orderBy(desc(at)).offset(count);
  await tx.delete(table).where(and(eq(userColumn, userId), inArray(key, older)));
}
