import { encodeCursor } from '@zerda/contracts/protocol/page';

/** The rows of one page, and where the list goes on. */
export interface PageOfRows<Row> {
  readonly rows: readonly Row[];
  /** Cursor of the next page; null when this is the last. */
  readonly next: string | null;
}

/** Makes a page of rows that were read one more than it holds: the surplus row says that there is a next page. */
export function cutPage<Row extends { readonly id: number }>(
  read: readonly Row[],
  limit: number,
): PageOfRows<Row> {
  const rows = read.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: read.length > limit && last !== undefined ? encodeCursor(last.id) : null };
}
