import { valuesOf } from '../headers/header-pairs.ts';
import { type Directives, deltaSecondsToMs, directivesOf, targetedDirectivesOf } from './cache-control.ts';
import { perRequestHeaders } from './cached-request.ts';
import { parseHttpDate } from './http-date.ts';

/** Configured lifetimes of cached responses. */
export interface CacheSettings {
  /** Longest time in milliseconds that a response is fresh. */
  readonly ttlMs: number;
  /**
   * Milliseconds that a stale response may be returned while a new one is fetched: an upper limit, and the default if the service sets
   * none. Undefined leaves it to the service.
   */
  readonly staleWhileRevalidateMs: number | undefined;
  /** Milliseconds that a stale response may be returned if fetching a new one fails; otherwise as above. */
  readonly staleIfErrorMs: number | undefined;
}

/** How long a response may be used, in milliseconds since it was requested. */
export interface Lifetime {
  /** End of the time in which it is fresh. */
  readonly freshMs: number;
  /** End of the time in which it may be returned while a new one is fetched. */
  readonly revalidateMs: number;
  /** End of the time in which it may be returned if fetching a new one fails. */
  readonly errorMs: number;
  /** Age of the response when it was received (RFC 9111, section 4.2.3). */
  readonly initialAgeMs: number;
  /** Whether each request must revalidate the response, even one that arrives while the response is being fetched. */
  readonly alwaysRevalidate: boolean;
}

/** Status and headers of a response. */
export interface ResponseHead {
  readonly status: number;
  /** Name, value, name, value. */
  readonly headers: readonly string[];
}

/** Milliseconds after its request in which a response may be used, whatever its directives allow. */
export const maxRetentionMs = 300_000;

/** Values of `Vary` that make a response uncacheable: `*`, and headers that differ with every request. */
const uncacheableVaryNames: ReadonlySet<string> = new Set(['*', ...perRequestHeaders]);

/** Final statuses of RFC 9110, section 15, whose caching requirements the gateway implements. */
const understoodStatuses: ReadonlySet<number> = new Set([
  ...[200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426],
  ...[500, 501, 502, 503, 504, 505],
]);

/**
 * Statuses that are never stored: those that depend on a range or a condition of the request, and those of RFC 6585, sections 3 to 6. A
 * stored 429 would block every client because of one of them.
 */
const uncacheableStatuses: ReadonlySet<number> = new Set([206, 304, 412, 416, 428, 429, 431, 511]);

/** Statuses that may be stored without an explicit lifetime (RFC 9110, section 15.1). */
const heuristicallyCacheableStatuses: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501,
]);

/**
 * Returns how long a response may be used; undefined if it may not be stored. The headers of the service set the limits
 * (`CDN-Cache-Control`, `Cache-Control`, `Expires`, `Vary`; RFC 9111, 9213 and 5861) and the settings can only shorten them. A `private`
 * response may be stored for an authenticated caller, because only that caller gets it.
 * @param hasOwner whether the response is stored for one authenticated caller, and not for all anonymous ones
 */
export function lifetimeOf(
  { status, headers }: ResponseHead,
  settings: CacheSettings,
  hasOwner: boolean,
): Lifetime | undefined {
  const targeted = targetedDirectivesOf(headers);
  const control = targeted ?? directivesOf(valuesOf(headers, 'cache-control').join(','));
  if (uncacheableStatuses.has(status) || !allowsStorage(status, control)) return undefined;
  if (control.has('private') && !hasOwner) return undefined;
  if (
    valuesOf(headers, 'set-cookie').length > 0 ||
    varyOf(headers).some((name) => uncacheableVaryNames.has(name))
  )
    return undefined;
  const initialAgeMs = initialAgeOf(headers);
  const explicitMs = explicitLifetime(headers, control, targeted === undefined);
  const lifetimeMs = explicitMs ?? heuristicLifetime({ status, headers }, settings, control);
  if (lifetimeMs === undefined) return undefined;
  const remainingMs = explicitMs === undefined ? lifetimeMs : lifetimeMs - initialAgeMs;
  const alwaysRevalidate = control.has('no-cache') || (explicitMs !== undefined && remainingMs <= 0);
  const freshMs = alwaysRevalidate ? 0 : Math.min(settings.ttlMs, remainingMs);
  // These directives forbid stale responses; `s-maxage` does so for shared caches (RFC 9111, section 5.2.2.10).
  const forbidsStale = ['must-revalidate', 'proxy-revalidate', 's-maxage', 'no-cache'].some((name) =>
    control.has(name),
  );
  const until = (directive: string, settingMs: number | undefined): number => {
    const directiveMs = deltaSecondsToMs(control.get(directive));
    // The setting is the default, except for responses that need revalidation each time.
    const defaultMs = alwaysRevalidate ? 0 : settingMs;
    const allowedMs = directiveMs === undefined ? defaultMs : Math.min(directiveMs, settingMs ?? directiveMs);
    return Math.min(maxRetentionMs, freshMs + (forbidsStale ? 0 : (allowedMs ?? 0)));
  };
  const staleMs = until('stale-while-revalidate', settings.staleWhileRevalidateMs);
  // The settings cannot extend an explicit lifetime while the service is available.
  const bounded = explicitMs !== undefined && !control.has('stale-while-revalidate');
  const revalidateMs = bounded ? Math.min(staleMs, Math.max(freshMs, remainingMs)) : staleMs;
  const errorMs = until('stale-if-error', settings.staleIfErrorMs);
  const usable = !alwaysRevalidate || revalidateMs > 0 || errorMs > 0 || validatorsOf(headers).length > 0;
  return usable ? { freshMs, revalidateMs, errorMs, initialAgeMs, alwaysRevalidate } : undefined;
}

/** `must-understand` overrides `no-store` in caches that understand the status (RFC 9111, section 5.2.2.3). */
function allowsStorage(status: number, control: Directives): boolean {
  if (control.has('must-understand')) return understoodStatuses.has(status);
  return !control.has('no-store');
}

/** Returns the conditions that revalidate a response (RFC 9111, section 4.3.1): name, value, name, value. Empty without a validator. */
export function validatorsOf(headers: readonly string[]): string[] {
  const [etag] = valuesOf(headers, 'etag');
  const [lastModified] = valuesOf(headers, 'last-modified');
  return [
    ...(etag === undefined ? [] : ['if-none-match', etag]),
    ...(lastModified === undefined ? [] : ['if-modified-since', lastModified]),
  ];
}

/** Returns the sorted names of request headers in `Vary`, in lower case. */
export function varyOf(headers: readonly string[]): string[] {
  return valuesOf(headers, 'vary')
    .join(',')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
    .sort();
}

/** Resolution of `Date` in milliseconds. */
const resolutionMs = 1000;

/**
 * Returns the age of a response at its receipt in milliseconds: the larger of `Age` and the time since `Date` (RFC 9111, section 4.2.3).
 * The first of several `Age` values counts, and an invalid value is ignored (section 5.1).
 */
export function initialAgeOf(headers: readonly string[]): number {
  const [age = ''] = valuesOf(headers, 'age');
  const ageMs = deltaSecondsToMs(age.split(',', 1)[0]?.trim()) ?? 0;
  const date = parseHttpDate(valuesOf(headers, 'date')[0] ?? '');
  return date === undefined ? ageMs : Math.max(ageMs, Date.now() - date - resolutionMs);
}

/** Returns the freshness lifetime in milliseconds that the service sets (RFC 9111, section 4.2.1); undefined if it sets none. */
function explicitLifetime(
  headers: readonly string[],
  control: Directives,
  usesExpires: boolean,
): number | undefined {
  for (const name of ['s-maxage', 'max-age']) {
    // An invalid value means already expired (RFC 9111, section 4.2.1).
    if (control.has(name)) return deltaSecondsToMs(control.get(name)) ?? 0;
  }
  const expires = valuesOf(headers, 'expires');
  if (!usesExpires || expires.length === 0) return undefined;
  // So do repeated and invalid dates.
  const expiresAt = expires.length > 1 ? undefined : parseHttpDate(expires[0] ?? '');
  if (expiresAt === undefined) return 0;
  return expiresAt - (parseHttpDate(valuesOf(headers, 'date')[0] ?? '') ?? Date.now());
}

/**
 * Returns the freshness lifetime in milliseconds of a response without an explicit one (RFC 9111, section 4.2.2). It is the configured TTL
 * for a 200. For other statuses it is a tenth of the time since `Last-Modified`; undefined without that header.
 */
function heuristicLifetime(
  { status, headers }: ResponseHead,
  { ttlMs }: CacheSettings,
  control: Directives,
): number | undefined {
  if (status === 200) return ttlMs;
  if (!heuristicallyCacheableStatuses.has(status) && !control.has('public')) return undefined;
  const modifiedAt = parseHttpDate(valuesOf(headers, 'last-modified')[0] ?? '');
  if (modifiedAt === undefined) return undefined;
  const createdAt = parseHttpDate(valuesOf(headers, 'date')[0] ?? '') ?? Date.now();
  return createdAt > modifiedAt ? Math.min(ttlMs, (createdAt - modifiedAt) / 10) : undefined;
}
