import { z } from 'zod';
import { type RequestHeaders, requestHeadersKey } from './cached-request.ts';
import { type CacheSettings, maxRetentionMs } from './freshness.ts';

const milliseconds = z.int().min(0).max(maxRetentionMs);

const lifetimes = {
  ttl_ms: milliseconds.describe(
    'Longest time in milliseconds that a response is fresh; the service can shorten it. Writes through other replicas become visible after this time at the latest.',
  ),
  stale_while_revalidate_ms: milliseconds
    .optional()
    .describe(
      'Longest time in milliseconds after ttl_ms in which a stale response is returned while a new one is fetched. If the response has an explicit lifetime, max-age or stale-while-revalidate (RFC 5861) limits it. Default: what the response allows. Not used with must-revalidate, no-cache, s-maxage or max-age=0. It delays the visibility of writes through other replicas.',
    ),
  stale_if_error_ms: milliseconds
    .optional()
    .describe(
      'Longest time in milliseconds after ttl_ms in which a stale response is returned if the service fails or its circuit is open. It also applies if the response sets no stale-if-error (RFC 5861). Default: what the response allows. Not used with must-revalidate, no-cache, s-maxage or max-age=0. No response is used more than five minutes after its request.',
    ),
  max_bytes: z
    .int()
    .min(1)
    .max(2 ** 26)
    .default(256 * 1024)
    .describe('Largest body in bytes that is cached; larger responses are forwarded. Default: 256 KiB.'),
};

const summary =
  'Caches responses to GET for each caller, as far as the service allows (Cache-Control, Vary). A request with an unsafe method to the same upstream invalidates them.';

/** How responses of a route are cached. */
export const cacheSchema = z
  .union([
    z.literal('off'),
    z.strictObject({ ...lifetimes, request_headers: requestHeadersKey }).describe('Cache settings.'),
  ])
  .optional()
  .describe(`${summary} The service gets only request headers that are part of the cache key. Default: off.`);

/** How responses to a part of an aggregate are cached: the aggregate sends the same headers for every client. */
export const partCacheSchema = z
  .union([z.literal('off'), z.strictObject(lifetimes).describe('Cache settings.')])
  .optional()
  .describe(`${summary} Default: off.`);

type PartCache = z.output<typeof partCacheSchema>;

/** Converts the configured cache settings; undefined if the cache is off. */
export function cacheSettings(
  setting: PartCache,
): (CacheSettings & { readonly maxBytes: number }) | undefined {
  if (setting === undefined || setting === 'off') return undefined;
  return {
    ttlMs: setting.ttl_ms,
    staleWhileRevalidateMs: setting.stale_while_revalidate_ms,
    staleIfErrorMs: setting.stale_if_error_ms,
    maxBytes: setting.max_bytes,
  };
}

/** Cache settings of a route. */
export interface RouteCacheSettings extends CacheSettings {
  readonly maxBytes: number;
  readonly requestHeaders: RequestHeaders;
}

/** Converts the configured cache settings of a route; undefined if the cache is off. */
export function routeCacheSettings(setting: z.output<typeof cacheSchema>): RouteCacheSettings | undefined {
  const settings = cacheSettings(setting);
  if (settings === undefined || setting === undefined || setting === 'off') return undefined;
  return { ...settings, requestHeaders: setting.request_headers };
}
