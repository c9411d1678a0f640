import { z } from 'zod';
import { count } from './values.ts';

/** Body of a successful response: `{"status":"success","data":…}`. */
export interface Success<Data> {
  status: 'success';
  data: Data;
}

/** One page of a list; `page.next` is null on the last page. */
export interface Page<Entry> extends Success<Entry[]> {
  page: { next: string | null };
}

const status = z.literal('success');

/** Returns the schema of a successful response with this `data`. */
export function success<Data extends z.ZodType>(data: Data) {
  return z.strictObject({ status, data });
}

const next = z.string().nullable().describe('Cursor of the next page; null on the last page.');

/** Returns the schema of one page of a list. */
export function pageOf<Entry extends z.ZodType>(entry: Entry) {
  return z.strictObject({ status, data: z.array(entry), page: z.strictObject({ next }) });
}

/** Returns the schema of one page of a list whose total is stored. */
export function countedPageOf<Entry extends z.ZodType>(entry: Entry) {
  const total = count.describe('Total number of entries, ignoring the filters of the query.');
  return z.strictObject({ status, data: z.array(entry), page: z.strictObject({ next, total }) });
}
