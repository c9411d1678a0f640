import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { type Upstreams, upstreamOf } from '../upstreams.ts';
import type { RouteTable } from './table.ts';

/** A path that is forwarded, with every limit decided. */
export interface RouteSettings {
  /** Pattern with placeholders, as metrics name it. */
  readonly path: string;
  /** Methods as `Allow` lists them. */
  readonly methods: readonly string[];
  /** Name of the upstream. */
  readonly upstream: string;
  /** Milliseconds from the end of a request to the head of its answer. */
  readonly timeoutMs: number;
  /** Milliseconds after which a caller who gives up counts as a failure of the upstream. */
  readonly slowMs: number;
  /** Milliseconds between two pieces of a body, of either side. */
  readonly idleTimeoutMs: number;
  /** Milliseconds until the end of the answer; undefined without a limit. */
  readonly totalTimeoutMs: number | undefined;
  /** Whether the upstream gets the caller's `Host` instead of its own. */
  readonly keepHost: boolean;
  /** Bytes of a request body at most. */
  readonly bodyLimitBytes: number;
  /** How often a failed call is made again at most. */
  readonly retries: number;
}

/** A path that is forwarded, and where to. */
export interface Route extends Omit<RouteSettings, 'upstream'> {
  readonly upstream: Upstream;
}

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
      retries: limits.retries ?? standard.retries,
    };
  });
}

/** Joins settings to the upstreams that they name. */
export function createRoutes(settings: readonly RouteSettings[], upstreams: Upstreams): Route[] {
  return settings.map((route) => ({ ...route, upstream: upstreamOf(upstreams, route.upstream) }));
}
