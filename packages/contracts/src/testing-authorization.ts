import { authorization, type CallerKind, callerKinds } from './authorization.ts';
import type { Operations } from './protocol/operation.ts';

/** One cell of the authorization table. */
export interface AuthorizationCase {
  /** The operation, and what is particular about the request. */
  readonly name: string;
  readonly kind: CallerKind;
  readonly status: number;
}

/** A request of a test, without who makes it. */
export interface TestRequest {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  readonly path: string;
  readonly body?: object;
}

/** Every cell of the authorization table that concerns these operations. */
export function authorizationCases(operations: Operations): AuthorizationCase[] {
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
