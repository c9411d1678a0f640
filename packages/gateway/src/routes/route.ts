import type { ResponseHeaders } from '@zerda/chassis/http/response-headers';
import { cacheSettings } from '../cache/cache-settings.ts';
import { createResponseFilter } from '../headers/passed-headers.ts';
import type { PolicyFactory, PolicySettings, RoutePolicies } from '../policies/route-policies.ts';
import { type Upstreams, upstreamOf } from '../upstreams/upstreams.ts';
import type { ForwardedRoute, RouteLimits } from './forwarded-route.ts';
import type { RouteTable } from './table.ts';

/** A forwarded path with its settings from the table. */
export interface RouteSettings extends RouteLimits {
  /** Name of the upstream. */
  readonly upstream: string;
  /** Settings of the policies that run before a request is forwarded. */
  readonly policies: PolicySettings;
}

/** A forwarded path with its policies. */
export interface Route extends ForwardedRoute, RoutePolicies {}

const defaultLimits = { idleTimeoutMs: 30_000, bodyLimitBytes: 1024 * 1024, retries: 1 };

/**
 * Returns the routes of a table with all limits set: from the route, the table's `defaults`, or the gateway's defaults.
 * @param timeoutMs upstream timeout in milliseconds for routes without `timeout_ms`
 */
export function resolveRoutes(
  { routes, defaults, upstreams }: RouteTable,
  timeoutMs: number,
): RouteSettings[] {
  return routes.map(({ path, methods, upstream, encoded_slashes, ...routeKeys }) => {
    const {
      timeout_ms: routeTimeoutMs = timeoutMs,
      slow_ms: slowMs = Math.ceil(routeTimeoutMs / 2),
      idle_timeout_ms: idleTimeoutMs = defaultLimits.idleTimeoutMs,
      total_timeout_ms: totalTimeoutMs,
      body_limit_bytes: bodyLimitBytes = defaultLimits.bodyLimitBytes,
      retries = defaultLimits.retries,
      ...policies
    } = { ...defaults, ...routeKeys };
    return {
      path,
      methods: methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
      upstream,
      keepHost: upstreams[upstream]?.host === 'caller',
      timeoutMs: routeTimeoutMs,
      slowMs,
      idleTimeoutMs,
      totalTimeoutMs,
      bodyLimitBytes,
      encodedSlashes: encoded_slashes === 'allow',
      retries,
      policies,
    };
  });
}

/** Returns the policy settings of an aggregate, with the table's defaults. */
export function aggregatePolicies(
  { defaults }: Pick<RouteTable, 'defaults'>,
  aggregate: PolicySettings,
): PolicySettings {
  return { ...defaults, ...aggregate };
}

export interface CreateRoutesOptions {
  readonly policyFactory: PolicyFactory;
  /** Headers that the gateway sets on every forwarded response. */
  readonly securityHeaders: ResponseHeaders;
}

/** Creates the routes: connects their settings with upstreams and policies. */
export function createRoutes(
  settings: readonly RouteSettings[],
  upstreams: Upstreams,
  { policyFactory, securityHeaders }: CreateRoutesOptions,
): Route[] {
  return settings.map(({ policies, ...limits }) => {
    const upstream = upstreamOf(upstreams, limits.upstream);
    const route = {
      scope: 'routes',
      name: `${limits.methods.join('+')} ${limits.path}`,
      path: limits.path,
      methods: limits.methods,
      upstreams: [limits.upstream],
    } as const;
    const passesResponse = createResponseFilter(
      new Set([...securityHeaders.names, ...policyFactory.responseHeaders(policies, route)]),
    );
    const forwarded = { ...limits, upstream, passesResponse };
    return { ...forwarded, ...policyFactory.create(policies, { ...route, forwarded }) };
  });
}

/** Returns the names of the upstreams that have a route or an aggregate part with a cache. */
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
