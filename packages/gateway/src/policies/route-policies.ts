import type { z } from 'zod';
import type { policies } from './policies.ts';
import type { Policy, PolicyDefinition, PolicyRoute, PolicyScope } from './policy.ts';
import type { PolicyResources } from './resources.ts';

/** Policies in the order in which they run. */
export type PolicyList = readonly PolicyDefinition[];

type Listed = (typeof policies)[number];

/** Schemas of the settings of a scope, by key. */
export type PolicySchemas<Scope extends PolicyScope> = {
  readonly [Definition in Listed as Scope extends Definition['scopes'][number]
    ? Definition['key']
    : never]: Definition['schema'];
};

/** Settings of policies by key. Settings of other scopes have no effect. */
export type PolicySettings = z.output<z.ZodObject<PolicySchemas<'routes'>>>;

/** The policies of one route. */
export interface RoutePolicies {
  /** Steps in the order in which they run. */
  readonly policies: readonly Policy[];
  /** Responds to CORS preflight requests; undefined if no policy does. */
  readonly preflight: Policy | undefined;
}

/** Creates the policies of routes, with the resources that each names. */
export interface PolicyFactory {
  create(settings: PolicySettings, route: PolicyRoute): RoutePolicies;
  /** Returns the response headers of a route that only policies may set, in lower case. */
  responseHeaders(settings: PolicySettings, route: Omit<PolicyRoute, 'forwarded'>): string[];
}

/** Creates the factory of the listed policies. */
export function createPolicyFactory(list: PolicyList, resources: PolicyResources): PolicyFactory {
  return {
    create(settings, route) {
      const definitions = inScope(list, route.scope);
      return {
        policies: definitions.flatMap(
          (definition) =>
            definition.create(
              settingOf(settings, definition),
              route,
              pick(resources, definition.resources),
            ) ?? [],
        ),
        preflight: definitions
          .map((definition) => definition.createPreflight?.(settingOf(settings, definition), route))
          .find((policy) => policy !== undefined),
      };
    },
    responseHeaders: (settings, route) =>
      inScope(list, route.scope).flatMap(
        (definition) =>
          definition.responseHeaders?.(
            settingOf(settings, definition),
            route,
            pick(resources, definition.resources),
          ) ?? [],
      ),
  };
}

/** Returns the schemas of the settings of a scope. Further policies of the list have keys that the type does not contain. */
export function policySchemas<Scope extends PolicyScope>(
  list: PolicyList,
  scope: Scope,
): PolicySchemas<Scope> {
  return Object.fromEntries(
    inScope(list, scope).map(({ key, schema }) => [key, schema]),
  ) as PolicySchemas<Scope>;
}

/** Describes the policies for the output of `npm run routes`. */
export function describePolicies(list: PolicyList, scope: PolicyScope, settings: PolicySettings): string {
  return inScope(list, scope)
    .flatMap((definition) => definition.describe(settingOf(settings, definition)) ?? [])
    .join(', ');
}

/** Returns the table of docs/gateway.md: the policies in the order in which they run. */
export function documentPolicies(list: PolicyList): string {
  return [
    '| order | key | what it does | response |',
    '|--:|---|---|---|',
    ...list.map(
      ({ key, documentation: { effect, response } }, index) =>
        `| ${index + 1} | \`${key}\` | ${effect} | ${response} |`,
    ),
  ].join('\n');
}

function inScope(list: PolicyList, scope: PolicyScope): PolicyList {
  return list.filter(({ scopes }) => scopes.includes(scope));
}

function settingOf(settings: Readonly<Record<string, unknown>>, { key }: PolicyDefinition): unknown {
  return settings[key];
}

function pick<Name extends keyof PolicyResources>(
  resources: PolicyResources,
  names: readonly Name[],
): Pick<PolicyResources, Name> {
  return Object.fromEntries(names.map((name) => [name, resources[name]])) as Pick<PolicyResources, Name>;
}
