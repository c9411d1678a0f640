import type { Handlers } from '@zerda/chassis/http/api-router';
import { success } from '@zerda/chassis/http/success';
import type { sampleItemOperations } from '@zerda/contracts/stateless-service/estimates';

/** Creates the handlers of all operations of stateless-service. */
export function createSampleItemHandlers(unitPriceCents: number): Handlers<typeof sampleItemOperations> {
  return {
    async sampleItemHealth() {
      return { body: success({ service: 'stateless-service', status: 'healthy' }) };
    },
    async estimateSampleItems({ query: { quantity } }) {
      return { body: success({ quantity, total: (quantity * unitPriceCents) / 100 }) };
    },
  };
}
