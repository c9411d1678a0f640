import { methodsOf } from '@zerda/chassis/http/api-router';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { gatewayOperations } from '@zerda/contracts/gateway';
import { orderOperations } from '@zerda/contracts/orders';
import type { Operation, Operations } from '@zerda/contracts/protocol/operation';
import { userOperations } from '@zerda/contracts/users';
import type { Upstreams } from './upstreams.ts';

/** A path that the gateway forwards. */
export interface Route {
  /** Path with placeholders, as contracts and metrics name it. */
  readonly path: string;
  readonly upstream: Upstream;
  /** Methods as `Allow` lists them. */
  readonly methods: readonly string[];
}

/** Finds the route of a request's path; undefined when it is not one that is forwarded. */
export type Match = (path: string) => Route | undefined;

/** The table of what is forwarded where, made from the contracts. */
export function createRoutes({ users, orders }: Upstreams): Route[] {
  return [...routesTo(users, userOperations), ...routesTo(orders, orderOperations)];
}

/**
 * Matches paths segment by segment, as they were sent: nothing is decoded, so that gateway and service cannot read
 * one path in two ways. A placeholder takes any one segment that is not empty; where two routes fit, the one that
 * is literal for longer wins. Paths the gateway answers itself are never forwarded.
 */
export function createMatch(routes: readonly Route[], own: Operations = gatewayOperations): Match {
  const candidates = [
    ...routes.map((route) => ({ segments: route.path.split('/'), route })),
    ...Object.values(own).map(({ path }) => ({ segments: path.split('/'), route: undefined })),
  ].sort((a, b) => compare(a.segments, b.segments));
  return (path) => {
    const segments = path.split('/');
    return candidates.find((candidate) => fits(candidate.segments, segments))?.route;
  };
}

function routesTo(upstream: Upstream, operations: Operations): Route[] {
  const byPath = new Map<string, Operation[]>();
  for (const operation of Object.values(operations)) {
    byPath.set(operation.path, [...(byPath.get(operation.path) ?? []), operation]);
  }
  return [...byPath].map(([path, ofPath]) => ({ path, upstream, methods: methodsOf(ofPath) }));
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false;
  return pattern.every((part, index) => {
    const segment = segments[index];
    return isPlaceholder(part) ? segment !== '' : part === segment;
  });
}

/** Literal before placeholder, at the first segment where the two differ in that. */
function compare(a: readonly string[], b: readonly string[]): number {
  const index = a.findIndex((part, at) => isPlaceholder(part) !== isPlaceholder(b[at] ?? part));
  if (index === -1) return 0;
  return isPlaceholder(a[index] ?? '') ? 1 : -1;
}

function isPlaceholder(part: string): boolean {
  return part.startsWith('{');
}
