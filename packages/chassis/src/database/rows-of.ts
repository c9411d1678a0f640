import type { SQL } from 'drizzle-orm';
import type { Queries } from './database.ts';

/**
 * The rows of SQL that is written out. Both engines answer with an object of `rows`, which the type that covers the two
 * does not say; what is in them is the caller's to know.
 */
export async function rowsOf<Row>(db: Queries, query: SQL): Promise<Row[]> {
  return ((await db.execute(query)) as unknown as { rows: Row[] }).rows;
}
