import { z } from 'zod';
import { largestId } from './values.ts';

/** Cursor of a list: the base-36 id of the last entry of the previous page. Opaque to clients. */
const cursorText = z.string().regex(/^[0-9a-z]{1,6}$/, 'must be a cursor from an earlier response');

/** Maximum and default page size of every list. */
export const pageLimit = 100;

/** Query parameters of every list: `limit` entries after `cursor`. Pagination is by key, so inserts do not shift pages. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, `must be an integer from 1 to ${pageLimit}`)
    .transform(Number)
    .pipe(z.int().min(1).max(pageLimit))
    .default(pageLimit)
    .meta({ type: 'integer', minimum: 1, maximum: pageLimit })
    .describe(`Maximum number of entries per page, 1 to ${pageLimit}.`),
  cursor: cursorText
    .transform(decodeCursor)
    .optional()
    .describe('`page.next` of the previous page; absent for the first page.'),
};

/** Returns the cursor of the page that starts after this id. */
export function encodeCursor(id: number): string {
  return id.toString(36);
}

/** Returns the id after which the page starts. Six base-36 digits can exceed the largest id, so the result is capped. */
export function decodeCursor(cursor: string): number {
  return Math.min(Number.parseInt(cursor, 36), largestId);
}
