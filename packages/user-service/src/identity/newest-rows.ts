import type { Queries } from '@zerda/chassis/database/database';
import { and, desc, eq, inArray } from 'drizzle-orm';
import type { AnyPgColumn, PgTable } from 'drizzle-orm/pg-core';

/** Rows of which a user has several. */
export interface RowsOfUser {
  readonly table: PgTable;
  readonly userId: AnyPgColumn;
  /** Identifies a row among those of its user. */
  readonly key: AnyPgColumn;
  /** The later it is, the newer the row. */
  readonly at: AnyPgColumn;
}

/** Deletes the rows of a user except the newest. @param count rows that stay, at most */
export async function keepNewest(
  tx: Queries,
  { table, userId: owner, key, at }: RowsOfUser,
  userId: number,
  count: number,
): Promise<void> {
  const older = tx.select({ key }).from(table).where(eq(owner, userId)).orderBy(desc(at)).offset(count);
  await tx.delete(table).where(and(eq(owner, userId), inArray(key, older)));
}
