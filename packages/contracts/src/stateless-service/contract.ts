import { row } from '../authorization.ts';
import type { ServiceContract } from '../service-contract.ts';
import { sampleItemOperations, sampleItemTag } from './estimates.ts';

/** Contract of stateless-service. */
export const statelessServiceContract = {
  name: 'stateless-service',
  description: 'Estimates for sample items.',
  tags: { [sampleItemTag]: 'Estimates for sample items. Implemented by stateless-service.' },
  audit: {},
  operations: sampleItemOperations,
  authorization: [
    row('sampleItemHealth', [200, 401, 200, 200, 200, 200]),
    row('estimateSampleItems', [401, 401, 200, 200, 200, 200]),
  ],
} as const satisfies ServiceContract;
