import { gatewayContract } from './gateway/contract.ts';
import { orderServiceContract } from './order-service/contract.ts';
import type { ServiceContract } from './service-contract.ts';
import { userServiceContract } from './user-service/contract.ts';

/** Contracts of all services. */
export const contracts: readonly ServiceContract[] = [
  userServiceContract,
  orderServiceContract,
  gatewayContract,
];
