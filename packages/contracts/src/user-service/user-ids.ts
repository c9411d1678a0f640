import { z } from 'zod';
import { defineOperation } from '../protocol/operation.ts';
import { pageLimit } from '../protocol/page.ts';
import { id, largestId } from '../protocol/values.ts';

/** Path of the user ids on the management port of user-service. Services that maintain a projection of the users read it. */
export const userIdsPath = '/user-ids';

function integerText(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,10}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .meta({ type: 'integer', minimum: min, maximum: max });
}

/** Query for up to `limit` ids greater than `after`, in ascending order. */
export const userIdsQuery = z.strictObject({
  after: integerText(0, largestId).describe('Last id of the previous page; 0 for the first page.'),
  limit: integerText(1, pageLimit).describe(`Maximum number of ids, 1 to ${pageLimit}.`),
});

/** One page of user ids; empty after the last id. */
export const userIdsResponse = z
  .object({ ids: z.array(id).describe('Ids in ascending order.') })
  .meta({ id: 'UserIds', description: 'One page of user ids; empty after the last id.' });

/** Operations of user-service's management port. */
export const userIdsOperations = {
  listUserIds: defineOperation({
    id: 'listUserIds',
    method: 'get',
    path: userIdsPath,
    access: 'signed',
    summary: 'Ids of all users',
    description:
      'Returns ids greater than `after`, so that services can synchronize their projection of the users, page by page.',
    tag: 'Management',
    query: userIdsQuery,
    response: { status: 200, description: 'One page of ids.', schema: userIdsResponse },
    problems: [],
  }),
} as const;
