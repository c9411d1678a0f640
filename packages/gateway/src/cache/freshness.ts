import { valuesOf } from '../header-pairs.ts';
import { type Directives, directivesOf, secondsIn, targetedDirectivesOf } from './cache-control.ts';
import { perRequestHeaders } from './cached-request.ts';
import { parseHttpDate } from './http-date.ts';

/** How long answers may be used, as a table has it. */
export interface CacheSettings {
  /** Milliseconds that an answer is fresh at most. */
  readonly ttlMs: number;
  /**
   * Milliseconds after that in which it is still answered while a new one is fetched, at most and where the service does not say;
   * undefined for what the service says.
   */
  readonly staleWhileRevalidateMs: number | undefined;
  /** Milliseconds after that in which it is answered when no new one can be had; likewise. */
  readonly staleIfErrorMs: number | undefined;
}

/** How long one answer may be used, in milliseconds from when it was asked for. */
export interface Lifetime {
  readonly freshMs: number;
  /** Until when it is answered while a new one is fetched. */
  readonly revalidateMs: number;
  /** Until when it is answered when no new one can be had. */
  readonly errorMs: number;
  /** How old it was when it was asked for (RFC 9111, section 4.2.3). */
  readonly initialAgeMs: number;
  /** Whether the service has to be asked before each use: for a request that came meanwhile, too. */
  readonly perUse: boolean;
}

/** What is known of an answer. */
export interface Answered {
  readonly status: number;
  /** Name, value, name, value. */
  readonly headers: readonly string[];
}

/** The oldest answer that is ever shown, in milliseconds after it was asked for. */
export const oldestMs = 300_000;

/** Values of `Vary` with which a response is for one request only: `*`, and headers that no key can have. */
const ofOneRequest: ReadonlySet<string> = new Set(['*', ...perRequestHeaders]);

/** Final statuses of RFC 9110, section 15, whose meaning for a cache is known; those of ranges and conditions are of one request. */
const understood: ReadonlySet<number> = new Set([
  ...[200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426],
  ...[500, 501, 502, 503, 504, 505],
]);

/**
 * Statuses that are about one request: its part or condition, and those that no cache may store (RFC 6585, sections 3 to 6), of which 429
 * would stop every client for what one of them did.
 */
const ofOneAnswer: ReadonlySet<number> = new Set([206, 304, 412, 416, 428, 429, 431, 511]);

/** Statuses that may be stored although the service says nothing of time (RFC 9110, section 15.1). */
const heuristic: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

/**
 * How long an answer may be kept; undefined when not at all. The service has the last word (`CDN-Cache-Control`, `Cache-Control`,
 * `Expires`, `Vary`; RFC 9111, 9213 and 5861) and the table says how much of what it allows is used. `private` allows it, since what is
 * kept for a caller is shown to that caller alone.
 * @param known whether the answer is kept for one caller, and not for everybody who does not say who they are
 */
export function lifetimeOf(
  { status, headers }: Answered,
  settings: CacheSettings,
  known: boolean,
): Lifetime | undefined {
  const targeted = targetedDirectivesOf(headers);
  const control = targeted ?? directivesOf(valuesOf(headers, 'cache-control').join(','));
  if (ofOneAnswer.has(status) || !allowsStorage(status, control)) return undefined;
  if (control.has('private') && !known) return undefined;
  if (valuesOf(headers, 'set-cookie').length > 0 || varyOf(headers).some((name) => ofOneRequest.has(name)))
    return undefined;
  const initialAgeMs = initialAgeOf(headers);
  const explicitMs = explicitLifetime(headers, control, targeted === undefined);
  const lifetimeMs = explicitMs ?? heuristicLifetime({ status, headers }, settings, control);
  if (lifetimeMs === undefined) return undefined;
  const leftMs = explicitMs === undefined ? lifetimeMs : lifetimeMs - initialAgeMs;
  const perUse = control.has('no-cache') || (explicitMs !== undefined && leftMs <= 0);
  const freshMs = perUse ? 0 : Math.min(settings.ttlMs, leftMs);
  // They forbid what is stale, and `s-maxage` does so for a cache that is shared (RFC 9111, section 5.2.2.10).
  const strict = ['must-revalidate', 'proxy-revalidate', 's-maxage', 'no-cache'].some((name) =>
    control.has(name),
  );
  const until = (directive: string, settingMs: number | undefined): number => {
    const saidMs = secondsIn(control.get(directive));
    // The table speaks where the service is silent, and not of what it wants to be asked about each time.
    const allowedMs = saidMs === undefined ? (perUse ? 0 : settingMs) : Math.min(saidMs, settingMs ?? saidMs);
    return Math.min(oldestMs, freshMs + (strict ? 0 : (allowedMs ?? 0)));
  };
  const staleMs = until('stale-while-revalidate', settings.staleWhileRevalidateMs);
  // A service that answers has said for how long: the table may shorten that, and not add to it.
  const bounded = explicitMs !== undefined && !control.has('stale-while-revalidate');
  const revalidateMs = bounded ? Math.min(staleMs, Math.max(freshMs, leftMs)) : staleMs;
  const errorMs = until('stale-if-error', settings.staleIfErrorMs);
  const usable = !perUse || revalidateMs > 0 || errorMs > 0 || validatorsOf(headers).length > 0;
  return usable ? { freshMs, revalidateMs, errorMs, initialAgeMs, perUse } : undefined;
}

/** `must-understand` allows what `no-store` beside it forbids, to caches that know the status (RFC 9111, section 5.2.2.3). */
function allowsStorage(status: number, control: Directives): boolean {
  if (control.has('must-understand')) return understood.has(status);
  return !control.has('no-store');
}

/**
 * Conditions that ask whether an answer still holds (RFC 9111, section 4.3.1): name, value, name, value. None when it has no validator.
 */
export function validatorsOf(headers: readonly string[]): string[] {
  const [etag] = valuesOf(headers, 'etag');
  const [lastModified] = valuesOf(headers, 'last-modified');
  return [
    ...(etag === undefined ? [] : ['if-none-match', etag]),
    ...(lastModified === undefined ? [] : ['if-modified-since', lastModified]),
  ];
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

/** Milliseconds that `Date` may be behind the truth for its resolution. */
const resolutionMs = 1000;

/**
 * How old an answer was when it came, in milliseconds: the larger of what `Age` says and what `Date` shows (RFC 9111, section 4.2.3). Of
 * several ages the first holds, and what is no number is none (section 5.1).
 */
export function initialAgeOf(headers: readonly string[]): number {
  const [age = ''] = valuesOf(headers, 'age');
  const saidMs = secondsIn(age.split(',', 1)[0]?.trim()) ?? 0;
  const date = parseHttpDate(valuesOf(headers, 'date')[0] ?? '');
  return date === undefined ? saidMs : Math.max(saidMs, Date.now() - date - resolutionMs);
}

/** Milliseconds that the service allows from when the answer was made; undefined when it does not say. */
function explicitLifetime(
  headers: readonly string[],
  control: Directives,
  expiresHolds: boolean,
): number | undefined {
  for (const name of ['s-maxage', 'max-age']) {
    // A time that cannot be read is over.
    if (control.has(name)) return secondsIn(control.get(name)) ?? 0;
  }
  const expires = valuesOf(headers, 'expires');
  if (!expiresHolds || expires.length === 0) return undefined;
  // So is one that is given twice (RFC 9111, section 4.2.1).
  const until = expires.length > 1 ? undefined : parseHttpDate(expires[0] ?? '');
  if (until === undefined) return 0;
  return until - (parseHttpDate(valuesOf(headers, 'date')[0] ?? '') ?? Date.now());
}

/**
 * Milliseconds that an answer is fresh of which the service does not say so: what the table says for a 200. Others may have been meant for
 * the moment alone, and are kept for a tenth of the time since they last changed (RFC 9111, section 4.2.2), when there is one.
 */
function heuristicLifetime(
  { status, headers }: Answered,
  { ttlMs }: CacheSettings,
  control: Directives,
): number | undefined {
  if (status === 200) return ttlMs;
  if (!heuristic.has(status) && !control.has('public')) return undefined;
  const changed = parseHttpDate(valuesOf(headers, 'last-modified')[0] ?? '');
  if (changed === undefined) return undefined;
  const made = parseHttpDate(valuesOf(headers, 'date')[0] ?? '') ?? Date.now();
  return made > changed ? Math.min(ttlMs, (made - changed) / 10) : undefined;
}
