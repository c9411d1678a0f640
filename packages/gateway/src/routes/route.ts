import { createAnswerFilter } from '../passed-headers.ts';
import { cacheSettings } from '../policies/cache.ts';
import {
  createPolicies,
  type PolicySettings,
  policyHeaders,
  policyKeys,
  type RoutePolicies,
} from '../policies/policies.ts';
import type { PolicyResources } from '../policies/resources.ts';
import { type Upstreams, upstreamOf } from '../upstreams.ts';
import type { ForwardedRoute, RouteLimits } from './forwarded-route.ts';
import type { RouteTable } from './table.ts';

/** A path that is forwarded, as the table has it. */
export interface RouteSettings extends RouteLimits {
  /** Name of the upstream. */
  readonly upstream: string;
  /** What is decided before it is forwarded. */
  readonly policies: PolicySettings;
}

/** A path that is forwarded, with what is decided before. */
export interface Route extends ForwardedRoute, RoutePolicies {}

const standard = { idleTimeoutMs: 30_000, bodyLimitBytes: 1024 * 1024, retries: 1 };

/**
 * The routes of a table, what they leave out filled in from its defaults, then from ours.
 * @param timeoutMs what a route gets that sets no `timeout_ms`
 */
export function resolveRoutes(
  { routes, defaults, upstreams }: RouteTable,
  timeoutMs: number,
): RouteSettings[] {
  return routes.map(({ path, methods, upstream, ...own }) => {
    const limits = { ...defaults, ...own };
    const ofRoute = limits.timeout_ms ?? timeoutMs;
    return {
      path,
      methods: methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
      upstream,
      keepHost: upstreams[upstream]?.host === 'caller',
      timeoutMs: ofRoute,
      slowMs: limits.slow_ms ?? Math.ceil(ofRoute / 2),
      idleTimeoutMs: limits.idle_timeout_ms ?? standard.idleTimeoutMs,
      totalTimeoutMs: limits.total_timeout_ms,
      bodyLimitBytes: limits.body_limit_bytes ?? standard.bodyLimitBytes,
      encodedSlashes: own.encoded_slashes === 'allow',
      retries: limits.retries ?? standard.retries,
      policies: policySettings(limits),
    };
  });
}

/** The policies of an entry, what it leaves out taken from the table's defaults. */
function policySettings(...entries: readonly object[]): PolicySettings {
  const all: Readonly<Record<string, unknown>> = Object.assign({}, ...entries);
  return Object.fromEntries(
    Object.keys(policyKeys).flatMap((key) => (all[key] === undefined ? [] : [[key, all[key]]])),
  );
}

/** The policies of an aggregate: those of the table too, but for the cache, which its parts have. */
export function aggregatePolicies({ defaults }: Pick<RouteTable, 'defaults'>, own: object): PolicySettings {
  const { cache: _ofRoutes, ...shared } = policySettings(defaults, own);
  return shared;
}

/** Joins settings to the upstreams that they name, and to what is decided before they are called. */
export function createRoutes(
  settings: readonly RouteSettings[],
  upstreams: Upstreams,
  resources: PolicyResources,
): Route[] {
  return settings.map(({ policies, ...limits }) => {
    const upstream = upstreamOf(upstreams, limits.upstream);
    const passesAnswer = createAnswerFilter(new Set([...resources.guards.names, ...policyHeaders(policies)]));
    const forwarded = { ...limits, upstream, passesAnswer };
    return {
      ...forwarded,
      ...createPolicies(
        policies,
        {
          name: `${limits.methods.join('+')} ${limits.path}`,
          ...{ path: limits.path, methods: limits.methods, upstreams: [limits.upstream] },
          forwarded,
        },
        resources,
      ),
    };
  });
}

/** Names of the upstreams that have a route or a part whose answers are kept. */
export function cachedUpstreams(
  { aggregates }: Pick<RouteTable, 'aggregates'>,
  routes: readonly RouteSettings[],
): ReadonlySet<string> {
  const entries = [
    ...routes.map(({ upstream, policies }) => ({ upstream, cache: policies.cache })),
    ...aggregates.flatMap(({ parts }) => Object.values(parts)),
  ];
  return new Set(
    entries.flatMap(({ upstream, cache }) => (cacheSettings(cache) === undefined ? [] : [upstream])),
  );
}
