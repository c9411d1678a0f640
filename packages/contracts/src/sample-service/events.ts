import { z } from 'zod';
import { defineEvent } from '../events/definition.ts';
import { id, instant } from '../protocol/values.ts';

const common = { source: '/sample-service', subjects: 'sample-items' } as const;

/** Events of sample-service. Each change causes exactly one event. */
export const sampleItemEvents = {
  sampleItemCreated: defineEvent({
    ...common,
    type: 'zerda.sample_item.created.v1',
    summary: 'First event of each sample item',
    description: 'Contains the data as created, except the time of the last change.',
    data: z.strictObject({ id, user_id: id, name: z.string(), created_at: instant }),
  }),
  sampleItemUpdated: defineEvent({
    ...common,
    type: 'zerda.sample_item.updated.v1',
    summary: 'The sample item has changed',
    description: 'Contains all data after the change.',
    data: z.strictObject({ id, user_id: id, name: z.string(), updated_at: instant }),
  }),
  sampleItemDeleted: defineEvent({
    ...common,
    type: 'zerda.sample_item.deleted.v1',
    summary: 'The sample item was deleted',
    description: 'Last event of each sample item.',
    data: z.strictObject({ id, user_id: id, deleted_at: instant }),
  }),
} as const;
