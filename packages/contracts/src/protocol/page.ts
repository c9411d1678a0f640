import { z } from 'zod';
import { largestId } from './values.ts';

/** Where a list goes on: opaque to clients, the base-36 id of the last entry seen to us. */
const cursorText = z.string().regex(/^[0-9a-z]{1,6}$/, 'must be a cursor from an earlier answer');

/** The largest page a list answers, and the size when the caller names none. */
export const pageLimit = 100;

/** Query members of every list: `limit` entries after `cursor`. Pages are by key, so inserts never shift them. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, `must be an integer from 1 to ${pageLimit}`)
    .transform(Number)
    .pipe(z.int().min(1).max(pageLimit))
    .default(pageLimit)
    .meta({ type: 'integer', minimum: 1, maximum: pageLimit })
    .describe(`Entries a page has at most, 1 to ${pageLimit}.`),
  cursor: cursorText
    .transform(decodeCursor)
    .optional()
    .describe('`page.next` of the answer before; absent for the first page.'),
};

/** The cursor that continues after the entry with this id. */
export function encodeCursor(id: number): string {
  return id.toString(36);
}

/** The id after which a cursor continues; six digits reach a little beyond the largest id, where every list has ended. */
export function decodeCursor(cursor: string): number {
  return Math.min(Number.parseInt(cursor, 36), largestId);
}
