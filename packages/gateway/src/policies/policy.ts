import type { z } from 'zod';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import type { PolicyContext } from './policy-context.ts';
import type { PolicyResources } from './resources.ts';

/**
 * One step of a route. Returns true if it sends the response, false to continue with the next step. A thrown Failure becomes the response.
 * It returns a promise only if it must wait: most requests pass all steps synchronously.
 */
export type Policy = (policyContext: PolicyContext) => boolean | Promise<boolean>;

/** What policies apply to: forwarded routes, aggregates, and the endpoints that the gateway serves itself. */
export type PolicyScope = 'routes' | 'aggregates' | 'own';

/** The route, aggregate or own endpoint that a policy is created for. */
export interface PolicyRoute {
  readonly scope: PolicyScope;
  /** Unique name: methods and path pattern, such as `GET /api/users/{id}`. */
  readonly name: string;
  /** Path pattern, as used in metrics. */
  readonly path: string;
  /** Allowed methods. */
  readonly methods: readonly string[];
  /** Names of the upstreams that one request calls; a name repeats for every further call. */
  readonly upstreams: readonly string[];
  /** Forwarding settings; undefined unless the scope is `routes`. */
  readonly forwarded: ForwardedRoute | undefined;
}

/** A policy: its setting in the route table, the step that it creates from it, and its row in docs/gateway.md. */
export interface PolicyDefinition<
  Key extends string = string,
  Schema extends z.ZodType = z.ZodType,
  Scope extends PolicyScope = PolicyScope,
  Resource extends keyof PolicyResources = keyof PolicyResources,
> {
  /** Key of the setting in `defaults` and in entries of `routes` and `aggregates`. Policies may share a setting. */
  readonly key: Key;
  /** Schema of the setting: optional, with a description. */
  readonly schema: Schema;
  readonly scopes: readonly Scope[];
  /** Names of the resources that `create` gets. */
  readonly resources: readonly Resource[];
  /** Row of the table in docs/gateway.md, in Markdown. */
  readonly documentation: PolicyDocumentation;
  /** Returns the text in the output of `npm run routes`; undefined if there is none. */
  describe(setting: z.output<Schema>): string | undefined;
  /**
   * Returns the response headers that only this policy may set on a route, in lower case; those of the upstream are removed. None by
   * default.
   */
  responseHeaders?(
    setting: z.output<Schema>,
    route: Omit<PolicyRoute, 'forwarded'>,
    resources: Pick<PolicyResources, Resource>,
  ): readonly string[];
  /** Creates the step of a route; undefined if the route does not use the policy. */
  create(
    setting: z.output<Schema>,
    route: PolicyRoute,
    resources: Pick<PolicyResources, Resource>,
  ): Policy | undefined;
  /** Creates the step that responds to CORS preflight requests to a route; undefined if there is none. */
  createPreflight?(setting: z.output<Schema>, route: PolicyRoute): Policy | undefined;
}

export interface PolicyDocumentation {
  /** What the policy does. */
  readonly effect: string;
  /** Statuses, problems or headers of the responses that it causes. */
  readonly response: string;
}

/** Returns the definition, with the types of its setting and resources inferred. */
export function definePolicy<
  const Key extends string,
  Schema extends z.ZodType,
  const Scope extends PolicyScope,
  const Resource extends keyof PolicyResources,
>(
  definition: PolicyDefinition<Key, Schema, Scope, Resource>,
): PolicyDefinition<Key, Schema, Scope, Resource> {
  return definition;
}

/** Runs the steps in order until one sends the response. Returns whether one did; a promise only if a step waits. */
export function runPolicies(
  policies: readonly Policy[],
  policyContext: PolicyContext,
  from = 0,
): boolean | Promise<boolean> {
  for (let index = from; index < policies.length; index += 1) {
    const responded = policies[index]?.(policyContext) ?? false;
    if (typeof responded !== 'boolean') {
      return responded.then((sent) => sent || runPolicies(policies, policyContext, index + 1));
    }
    if (responded) return true;
  }
  return false;
}
