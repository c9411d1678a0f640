import { z } from 'zod';
import { count } from './values.ts';

/** A success: `{"status":"success","data":…}`. Clients read `data`. */
export interface Success<Data> {
  status: 'success';
  data: Data;
}

/** One page of a list; `page.next` is null on the last one. */
export interface Page<Entry> extends Success<Entry[]> {
  page: { next: string | null };
}

const status = z.literal('success');

/** Schema of a success whose `data` is one thing. */
export function success<Data extends z.ZodType>(data: Data) {
  return z.strictObject({ status, data });
}

const next = z.string().nullable().describe('Cursor of the next page; null when this is the last.');

/** Schema of one page of a list. */
export function pageOf<Entry extends z.ZodType>(entry: Entry) {
  return z.strictObject({ status, data: z.array(entry), page: z.strictObject({ next }) });
}

/** Schema of one page of a list whose length is known without counting it. */
export function countedPageOf<Entry extends z.ZodType>(entry: Entry) {
  const total = count.describe('Entries there are in all, without the filters of the query.');
  return z.strictObject({ status, data: z.array(entry), page: z.strictObject({ next, total }) });
}
