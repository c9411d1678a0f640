import { type CallerKind, callerKinds } from '../src/authorization.ts';
import type { ServiceContract } from '../src/service-contract.ts';

/** One cell of the authorization table as a test case. */
export interface AuthorizationCase {
  /** The operation and the condition on the request. */
  readonly name: string;
  readonly kind: CallerKind;
  readonly status: number;
}

/** A test request without credentials. */
export interface TestRequest {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  readonly path: string;
  readonly body?: object;
}

/** Returns the cells of a contract's authorization table, for the operations given. */
export function authorizationCases({
  operations,
  authorization,
}: Pick<ServiceContract, 'operations' | 'authorization'>): AuthorizationCase[] {
  return authorization
    .filter(({ operation }) => Object.hasOwn(operations, operation))
    .flatMap(({ operation, when, status }) =>
      callerKinds.map((kind) => ({
        name: when === undefined ? operation : `${operation} ${when}`,
        kind,
        status: status[kind],
      })),
    );
}
