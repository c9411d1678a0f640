import { valuesOf } from '../header-pairs.ts';
import { perRequestHeaders } from './cached-request.ts';

/** How long answers may be used, as a table has it. */
export interface CacheSettings {
  /** Milliseconds that an answer is fresh at most. */
  readonly ttlMs: number;
  /** Milliseconds after that in which it is still answered while a new one is fetched. */
  readonly staleWhileRevalidateMs: number;
  /** Milliseconds after that in which it is answered when no new one can be had. */
  readonly staleIfErrorMs: number;
}

/** How long one answer may be used, in milliseconds from when it was asked for. */
export interface Lifetime {
  readonly freshMs: number;
  /** Until when it is answered while a new one is fetched. */
  readonly revalidateMs: number;
  /** Until when it is answered when no new one can be had. */
  readonly errorMs: number;
}

/** The oldest answer that is ever shown, in milliseconds. */
export const oldestMs = 300_000;

/** Values of `Vary` with which a response is for one request only: `*`, and headers that no key can have. */
const ofOneRequest: ReadonlySet<string> = new Set(['*', ...perRequestHeaders]);

/**
 * How long an answer may be kept; undefined when not at all. The service has the last word (`Cache-Control`, `Expires`,
 * `Vary`; RFC 9111 and 5861) and the table says how much of what it allows is used. `private` allows it, since what is
 * kept for a caller is shown to that caller alone.
 * @param headers name, value, name, value
 * @param known whether the answer is kept for one caller, and not for everybody who does not say who they are
 */
export function lifetimeOf(
  headers: readonly string[],
  settings: CacheSettings,
  known: boolean,
): Lifetime | undefined {
  const control = directivesOf(valuesOf(headers, 'cache-control').join(','));
  if (control.has('no-store') || control.has('no-cache')) return undefined;
  if (control.has('private') && !known) return undefined;
  if (valuesOf(headers, 'set-cookie').length > 0 || varyOf(headers).some((name) => ofOneRequest.has(name)))
    return undefined;
  const freshMs = Math.max(0, Math.min(settings.ttlMs, allowedMs(headers, control) ?? settings.ttlMs));
  // They forbid what is stale, and `s-maxage` does so for a cache that is shared (RFC 9111, section 5.2.2.10).
  const strict = ['must-revalidate', 'proxy-revalidate', 's-maxage'].some((name) => control.has(name));
  const within = (directive: string, settingMs: number): number =>
    strict ? 0 : Math.min(settingMs, secondsIn(control.get(directive)) ?? settingMs);
  return {
    freshMs,
    revalidateMs: Math.min(
      oldestMs,
      freshMs + within('stale-while-revalidate', settings.staleWhileRevalidateMs),
    ),
    errorMs: Math.min(oldestMs, freshMs + within('stale-if-error', settings.staleIfErrorMs)),
  };
}

/** Names of the request's headers that the answer depends on, in lower case. */
export function varyOf(headers: readonly string[]): string[] {
  return valuesOf(headers, 'vary')
    .join(',')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
    .sort();
}

/** Directives of `Cache-Control`, names in lower case; one that is given twice holds as the first (RFC 9111, section 4.2.1). */
export function directivesOf(header: string): ReadonlyMap<string, string> {
  const directives = new Map<string, string>();
  for (const directive of header.split(',')) {
    const [name = '', value = ''] = directive.split('=', 2).map((text) => text.trim());
    const key = name.toLowerCase();
    if (key !== '' && !directives.has(key)) directives.set(key, value.replace(/^"(.*)"$/, '$1'));
  }
  return directives;
}

/** Milliseconds that the service allows, less those that the answer is old already; undefined when it does not say. */
function allowedMs(headers: readonly string[], control: ReadonlyMap<string, string>): number | undefined {
  const ageMs = secondsIn(valuesOf(headers, 'age')[0]) ?? 0;
  for (const name of ['s-maxage', 'max-age']) {
    // A time that cannot be read is over.
    if (control.has(name)) return (secondsIn(control.get(name)) ?? 0) - ageMs;
  }
  const [expires] = valuesOf(headers, 'expires');
  if (expires === undefined) return undefined;
  const from = Date.parse(valuesOf(headers, 'date')[0] ?? '');
  const until = Date.parse(expires);
  return Number.isNaN(until) ? 0 : until - (Number.isNaN(from) ? Date.now() : from) - ageMs;
}

/** A whole number of seconds as milliseconds. */
function secondsIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) * 1000 : undefined;
}
