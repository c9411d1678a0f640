import { gatewayOperations } from '../gateway.ts';
import { identityOperations } from '../identity.ts';
import { orderOperations } from '../orders.ts';
import type { ProblemCode } from '../problems.ts';
import type { Operation } from '../protocol/operation.ts';
import { userOperations } from '../users.ts';
import { openApiDocument } from './document.ts';

/** Version of the APIs; the first number changes when a client would have to. */
export const apiVersion = '1.0.0';

/** What the gateway's policies answer, whatever would be called. */
const policyProblems: readonly ProblemCode[] = ['rate-limited', 'overloaded'];

/** What a call through the gateway can meet beside what the service behind it answers. */
const forwardingProblems: readonly ProblemCode[] = [
  ...policyProblems,
  'upstream-failed',
  'upstream-overloaded',
  'upstream-unavailable',
  'upstream-timeout',
];

const users = Object.values({ ...userOperations, ...identityOperations }) as readonly Operation[];
const orders = Object.values(orderOperations) as readonly Operation[];
const own = Object.values(gatewayOperations) as readonly Operation[];

/** The OpenAPI document of every service; the gateway's has all that can be called through it. */
export const documents = {
  'user-service': openApiDocument({
    title: 'zerda user-service',
    description: 'Users of the system, and who they are.',
    version: apiVersion,
    operations: users,
  }),
  'order-service': openApiDocument({
    title: 'zerda order-service',
    description: 'Orders, their status and their totals.',
    version: apiVersion,
    operations: orders,
  }),
  gateway: openApiDocument({
    title: 'zerda',
    description: 'Everything that the system offers, through its gateway.',
    version: apiVersion,
    operations: [...own, ...users, ...orders],
    problemsOf: (operation) => {
      // It answers under overload, too.
      if (operation === gatewayOperations.getHealth) return ['rate-limited'];
      if (own.includes(operation)) return policyProblems;
      return operation.body === undefined ? forwardingProblems : [...forwardingProblems, 'request-timeout'];
    },
  }),
} as const;
