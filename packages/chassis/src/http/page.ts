import { encodeCursor } from '@zerda/contracts/protocol/page';

/** The rows of one page and the cursor of the next one. */
export interface PageOfRows<Row> {
  readonly rows: readonly Row[];
  /** Cursor of the next page; null if this is the last page. */
  readonly next: string | null;
}

/**
 * Creates a page from a query result. If the result has more than `limit` rows, there is a next page.
 * @param queriedRows rows of a query with the limit `limit + 1`
 */
export function cutPage<Row extends { readonly id: number }>(
  queriedRows: readonly Row[],
  limit: number,
): PageOfRows<Row> {
  const rows = queriedRows.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: queriedRows.length > limit && last !== undefined ? encodeCursor(last.id) : null };
}
