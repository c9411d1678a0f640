import { z } from 'zod';
import { pageLimit } from '../protocol/page.ts';
import { id, largestId } from '../protocol/values.ts';

/** Path of the user ids on the management port of user-service. Services that maintain a projection of the users read it. */
export const userIdsPath = '/user-ids';

function integerText(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,10}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max));
}

/** Query for up to `limit` ids greater than `after`, in ascending order. */
export const userIdsQuery = z.strictObject({
  after: integerText(0, largestId),
  limit: integerText(1, pageLimit),
});

/** One page of user ids; empty after the last id. */
export const userIdsResponse = z.object({ ids: z.array(id) });
