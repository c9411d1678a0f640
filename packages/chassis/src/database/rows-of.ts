import type { SQL } from 'drizzle-orm';
import type { Queries } from './database.ts';

/**
 * Returns the rows of a raw SQL query. Both engines return an object with `rows`, which their common type does not
 * declare. The caller is responsible for the row type.
 */
export async function rowsOf<Row>(db: Queries, query: SQL): Promise<Row[]> {
  return ((await db.execute(query)) as unknown as { rows: Row[] }).rows;
}
