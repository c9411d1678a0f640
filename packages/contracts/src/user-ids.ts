import { z } from 'zod';
import { pageLimit } from './protocol/page.ts';
import { id, largestId } from './protocol/values.ts';

/** Path, on the management port of user-service, of the ids of its users: for services that keep a projection of them. */
export const userIdsPath = '/user-ids';

function wholeNumber(least: number, most: number) {
  return z
    .string()
    .regex(/^\d{1,10}$/)
    .transform(Number)
    .pipe(z.int().min(least).max(most));
}

/** The ids that follow on one, in their order. */
export const userIdsQuery = z.strictObject({
  after: wholeNumber(0, largestId),
  limit: wholeNumber(1, pageLimit),
});

/** None when there are no more. */
export const userIdsAnswer = z.object({ ids: z.array(id) });
