import { authenticate } from './authenticate.ts';
import { authorize } from './authorize.ts';
import { cache } from './cache.ts';
import { cors, createPreflight } from './cors.ts';
import { limit } from './limit.ts';
import type { Policy, PolicyKind, PolicyRoute } from './policy.ts';
import type { PolicyResources } from './resources.ts';
import { shed } from './shed.ts';

/** The order in which policies see a request: each keeps from the next what need not reach it. */
const kinds: readonly PolicyKind[] = [cors, shed, authenticate, limit, authorize, cache];

/** Keys of all that holds for aggregates as for routes. */
export const sharedPolicyKeys = { ...cors.keys, ...shed.keys, ...authenticate.keys, ...limit.keys };

/** Keys of a route and of the table's `defaults`. */
export const policyKeys = { ...sharedPolicyKeys, ...cache.keys };

/** Values of those keys. */
export type PolicySettings = Parameters<typeof cors.describe>[0] &
  Parameters<typeof shed.describe>[0] &
  Parameters<typeof authenticate.describe>[0] &
  Parameters<typeof limit.describe>[0] &
  Parameters<typeof cache.describe>[0];

/** What the policies of a route have become. */
export interface RoutePolicies {
  /** Steps of a request, in order; empty when the route has none. */
  readonly policies: readonly Policy[];
  /** Answers what a browser asks before a request (CORS); undefined when nobody may. */
  readonly preflight: Policy | undefined;
}

/** The policies of a route, put together once. */
export function createPolicies(
  settings: PolicySettings,
  route: PolicyRoute,
  resources: PolicyResources,
): RoutePolicies {
  return {
    policies: kinds
      .map((kind) => kind.create(settings, route, resources))
      .filter((step) => step !== undefined),
    preflight:
      settings.cors === undefined || settings.cors === 'off'
        ? undefined
        : createPreflight(settings.cors, route.methods),
  };
}

/** Names of headers, in lower case, that these policies write and no upstream may. */
export function policyHeaders(settings: PolicySettings): string[] {
  return kinds
    .filter(({ describe }) => describe(settings) !== undefined)
    .flatMap(({ answerHeaders }) => answerHeaders);
}

/** The policies in words, as `npm run routes` shows them. */
export function describePolicies(settings: PolicySettings): string {
  return kinds.flatMap((kind) => kind.describe(settings) ?? []).join(', ');
}
