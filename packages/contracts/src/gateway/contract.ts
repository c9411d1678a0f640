import { row } from '../authorization.ts';
import type { ServiceContract } from '../service-contract.ts';
import { gatewayOperations } from './operations.ts';

/** Contract of the gateway: its own operations. Those of the services are reached through it. */
export const gatewayContract = {
  name: 'gateway',
  description: 'All operations of the system, through its gateway.',
  tags: {
    Gateway:
      'Aggregated responses and the health of the system. The gateway implements these operations itself.',
  },
  audit: {
    'route.call': 'The gateway rejects a write that its route does not allow. The entity id is the route.',
  },
  operations: gatewayOperations,
  authorization: [
    row('getHealth', [200, 401, 200, 200, 200, 200]),
    row('getProfile', [401, 401, 403, 403, 200, 200]),
    row('getDashboard', [401, 401, 403, 403, 403, 200]),
  ],
} as const satisfies ServiceContract;
