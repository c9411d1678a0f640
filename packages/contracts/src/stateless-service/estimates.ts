import { z } from 'zod';
import { success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { idText, sum } from '../protocol/values.ts';

/** Estimate as the API returns it. */
export const sampleItemEstimate = z
  .strictObject({
    quantity: z.int().min(1),
    total: sum.describe('Quantity times unit price, with at most two decimals.'),
  })
  .meta({ id: 'SampleItemEstimate', description: 'Estimated total price.' });

const statelessServiceHealth = z
  .strictObject({ service: z.literal('stateless-service'), status: z.literal('healthy') })
  .meta({ id: 'StatelessServiceHealth', description: 'Health of stateless-service.' });

/** Name of the tag in the OpenAPI document. */
export const sampleItemTag = 'Sample items';

/** The API of stateless-service. */
export const sampleItemOperations = {
  sampleItemHealth: defineOperation({
    id: 'sampleItemHealth',
    method: 'get',
    path: '/api/sample-items/health',
    access: 'optional',
    summary: 'Health of stateless-service',
    description: 'Works without a token.',
    tag: sampleItemTag,
    response: { status: 200, description: 'The service responds.', schema: success(statelessServiceHealth) },
    problems: [],
  }),
  estimateSampleItems: defineOperation({
    id: 'estimateSampleItems',
    method: 'get',
    path: '/api/sample-items/estimate',
    access: 'user',
    summary: 'Estimate the total price of sample items',
    description: 'Multiplies the quantity by the configured unit price.',
    tag: sampleItemTag,
    query: z.strictObject({ quantity: idText.describe('Number of sample items.') }),
    response: { status: 200, description: 'The estimate.', schema: success(sampleItemEstimate) },
    problems: [],
  }),
} as const;
