import { z } from 'zod';
import { pageOf, success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { pageQuery } from '../protocol/page.ts';
import { id, idText, instant, line } from '../protocol/values.ts';

/** Sample item as the API returns it. */
export const sampleItem = z
  .strictObject({ id, user_id: id, name: z.string(), created_at: instant, updated_at: instant })
  .meta({ id: 'SampleItem', description: 'Belongs to one user.' });

export type SampleItem = z.infer<typeof sampleItem>;

const name = line(200).describe('Name, 1 to 200 characters.');

/** Request body of `createSampleItem`. */
export const newSampleItem = z
  .strictObject({ user_id: id.describe('Id of the user to whom it belongs.'), name })
  .meta({
    id: 'NewSampleItem',
    description: 'Request body for a new sample item. Users can create it only for themselves.',
    examples: [{ user_id: 1, name: 'First' }],
  });

export type NewSampleItem = z.infer<typeof newSampleItem>;

/** Request body of `updateSampleItem`. */
export const sampleItemChange = z
  .strictObject({ name })
  .meta({ id: 'SampleItemChange', description: 'Request body that changes the sample item.' });

export type SampleItemChange = z.infer<typeof sampleItemChange>;

const sampleServiceHealth = z
  .strictObject({ service: z.literal('sample-service'), status: z.literal('healthy') })
  .meta({
    id: 'SampleServiceHealth',
    description: 'Health of sample-service. The service and its database responded.',
  });

/** Name of the tag in the OpenAPI document. */
export const sampleItemTag = 'Sample items';

const tag = sampleItemTag;
const byId = z.strictObject({ id: idText.describe('Id of the sample item.') });

/** The API of sample-service. */
export const sampleItemOperations = {
  sampleItemHealth: defineOperation({
    id: 'sampleItemHealth',
    method: 'get',
    path: '/api/sample-items/health',
    access: 'optional',
    summary: 'Health of sample-service',
    description: 'Queries the database and returns 503 if it does not respond. Works without a token.',
    tag,
    response: {
      status: 200,
      description: 'The service and its database respond.',
      schema: success(sampleServiceHealth),
    },
    problems: [],
  }),
  listSampleItems: defineOperation({
    id: 'listSampleItems',
    method: 'get',
    path: '/api/sample-items',
    access: 'user',
    summary: 'List sample items',
    description:
      'Returns sample items in ascending order of id, one page at a time. Users see only their own; admins see all.',
    tag,
    query: z.strictObject({
      ...pageQuery,
      user_id: idText.optional().describe('Only sample items of this user.'),
    }),
    response: {
      status: 200,
      description: 'One page of sample items in ascending order of id.',
      schema: pageOf(sampleItem),
    },
    problems: [],
  }),
  getSampleItem: defineOperation({
    id: 'getSampleItem',
    method: 'get',
    path: '/api/sample-items/{id}',
    access: 'user',
    summary: 'Get one sample item',
    description:
      'Those of other users are a 404. Supports conditional requests with the `ETag` of an earlier response.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The sample item.', schema: success(sampleItem), etag: true },
    problems: ['not-found'],
  }),
  createSampleItem: defineOperation({
    id: 'createSampleItem',
    method: 'post',
    path: '/api/sample-items',
    access: 'user',
    audit: 'sample-item.create',
    summary: 'Create one sample item',
    description: 'Send an `Idempotency-Key` to repeat the request safely.',
    tag,
    body: newSampleItem,
    accepts: { idempotencyKey: true },
    response: {
      status: 201,
      description: 'The new sample item.',
      schema: success(sampleItem),
      etag: true,
      location: true,
    },
    problems: [],
  }),
  updateSampleItem: defineOperation({
    id: 'updateSampleItem',
    method: 'put',
    path: '/api/sample-items/{id}',
    access: 'user',
    audit: 'sample-item.update',
    summary: 'Change one sample item',
    description: 'Users can change only their own. Send `If-Match` to prevent lost updates.',
    tag,
    params: byId,
    body: sampleItemChange,
    accepts: { preconditions: true },
    response: {
      status: 200,
      description: 'The changed sample item.',
      schema: success(sampleItem),
      etag: true,
    },
    problems: ['not-found'],
  }),
  deleteSampleItem: defineOperation({
    id: 'deleteSampleItem',
    method: 'delete',
    path: '/api/sample-items/{id}',
    access: 'user',
    audit: 'sample-item.delete',
    summary: 'Delete one sample item',
    description: 'Users can delete only their own.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The deleted sample item.', schema: success(sampleItem) },
    problems: ['not-found'],
  }),
} as const;
