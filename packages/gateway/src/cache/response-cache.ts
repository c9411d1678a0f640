import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { namesOf, valuesOf, without } from '../headers/header-pairs.ts';
import type { CacheOutcome, PolicyMetrics } from '../metrics/policy-metrics.ts';
import type { SentHeaders } from './cached-request.ts';
import { type CacheSettings, initialAgeOf, lifetimeOf, validatorsOf, varyOf } from './freshness.ts';
import { type CompleteResponse, residentTimeMs, type StoredResponse, sizeOf } from './stored-response.ts';

/** A GET request that the cache can respond to, and how to fetch its response from the upstream. */
export interface CacheLookup {
  /** Name of the upstream. */
  readonly upstream: string;
  /** Path and query that the upstream gets. */
  readonly target: string;
  /** Caller that the response belongs to; undefined for an anonymous caller. */
  readonly owner: string | undefined;
  /** Headers of the client that the upstream gets. */
  readonly sent: SentHeaders;
  readonly settings: CacheSettings;
  /**
   * Fetches the response for all requests that wait for it. It continues when their clients disconnect.
   * @param conditions headers that revalidate the stored response: name, value, name, value
   * @throws TooLargeError, and errors of calls to upstreams
   */
  fetch(conditions: readonly string[]): Promise<CompleteResponse>;
}

/** A response from the cache, or one that the cache has just fetched. */
export interface CacheResult {
  readonly outcome: Exclude<CacheOutcome, 'bypass'>;
  readonly response: CompleteResponse;
  /** Age of the response in milliseconds (RFC 9111, section 4.2.3). */
  readonly ageMs: number;
  /** Why fetching a new response failed; set when a stale response replaces it. */
  readonly failure?: unknown;
}

/** Caches complete responses of upstreams in memory. */
export interface ResponseCache {
  /** Returns the stored response if it is fresh. */
  find(lookup: CacheLookup): CacheResult | undefined;
  /**
   * Returns the stored response or fetches a new one. Undefined if the response cannot be stored: the caller then sends the request
   * itself.
   * @throws errors of calls to upstreams, if no stored response may replace the new one
   */
  fetch(lookup: CacheLookup): Promise<CacheResult | undefined>;
  /** Invalidates all responses of an upstream, including those that are being fetched. */
  invalidate(upstream: string): void;
}

/** Thrown if a response is larger than the cache can store. */
export class TooLargeError extends Error {}

/**
 * Thrown if a response cannot be stored. The request that fetched it returns it. Other requests that wait for it return it only if it is
 * a server error.
 */
class NotStoredError extends Error {
  readonly lookup: CacheLookup;
  readonly response: CompleteResponse;

  constructor(lookup: CacheLookup, response: CompleteResponse) {
    super(`a response with status ${response.status} cannot be stored`);
    this.lookup = lookup;
    this.response = response;
  }
}

/** Milliseconds in which requests bypass the cache after a response that could not be stored, so that they do not wait for each other. */
const uncacheableMs = 10_000;
/** Maximum entries of `varies` and of `uncacheable`. */
const maxIndexEntries = 10_000;

/**
 * Creates a cache that holds up to `maxBytes`. Concurrent requests for the same response share one fetch, which continues when their
 * clients disconnect. Every key contains the upstream's generation; invalidating an upstream starts a new one.
 */
export function createResponseCache(maxBytes: number, metrics: Pick<PolicyMetrics, 'cache'>): ResponseCache {
  const generations = new Map<string, number>();
  /** Header names of the last seen `Vary`, by primary key. */
  const varies = new LRUCache<string, readonly string[]>({ max: maxIndexEntries });
  const uncacheable = new LRUCache<string, true>({ max: maxIndexEntries, ttl: uncacheableMs });
  const responses = new LRUCache<string, StoredResponse, CacheLookup>({
    maxSize: maxBytes,
    sizeCalculation: sizeOf,
    // Stale responses stay: `fetch` below decides whether they may be used.
    noDeleteOnFetchRejection: true,
    noDeleteOnStaleGet: true,
    // An entry that is evicted during its fetch still returns its response.
    ignoreFetchAbort: true,
    fetchMethod: async (key, existing, { context: lookup, options }) => {
      const requestedAt = performance.now();
      const previous = existing !== undefined && matches(existing, lookup) ? existing : undefined;
      const response = await fetchOrRevalidate(lookup, previous).catch((error) => {
        if (error instanceof TooLargeError) uncacheable.set(primaryKeyOf(lookup), true);
        throw error;
      });
      const stored = isReplaceableError(response, previous)
        ? undefined
        : toStored(lookup, response, requestedAt);
      if (stored === undefined) {
        if (response.status === 200) uncacheable.set(primaryKeyOf(lookup), true);
        // The new response supersedes the stored one, unless it is a server error.
        if (response.status < 500) responses.delete(key);
        throw new NotStoredError(lookup, response);
      }
      if (stored.vary.length > 0)
        varies.set(
          primaryKeyOf(lookup),
          stored.vary.map(([name]) => name),
        );
      options.ttl = ttlOf(stored);
      return stored;
    },
  });
  metrics.cache(() => ({ entries: responses.size, bytes: responses.calculatedSize, maxBytes }));

  const generationOf = ({ upstream }: CacheLookup): number => generations.get(upstream) ?? 0;

  function keyOf(lookup: CacheLookup, generation: number): string {
    const primaryKey = primaryKeyOf(lookup);
    const names = varies.get(primaryKey);
    const values =
      names === undefined ? '' : compact(JSON.stringify(names.map((header) => sentValue(lookup, header))));
    return `${generation} ${values} ${primaryKey}`;
  }

  function find(lookup: CacheLookup): CacheResult | undefined {
    const stored = responses.get(keyOf(lookup, generationOf(lookup)), { allowStale: true });
    if (stored === undefined || !matches(stored, lookup)) return undefined;
    const residentMs = residentTimeMs(stored);
    return residentMs < stored.freshMs
      ? { outcome: 'hit', response: stored, ageMs: stored.initialAgeMs + residentMs }
      : undefined;
  }

  async function fetch(lookup: CacheLookup): Promise<CacheResult | undefined> {
    if (uncacheable.has(primaryKeyOf(lookup))) return undefined;
    const generation = generationOf(lookup);
    const key = keyOf(lookup, generation);
    const existing = responses.peek(key, { allowStale: true });
    const stored = existing !== undefined && matches(existing, lookup) ? existing : undefined;
    const status: LRUCache.Status<string, StoredResponse, CacheLookup> = {};
    try {
      const response = await responses.fetch(key, {
        context: lookup,
        status,
        allowStale: stored !== undefined && residentTimeMs(stored) < stored.revalidateMs,
        // lru-cache measures TTLs in whole milliseconds.
        forceRefresh: existing !== undefined && residentTimeMs(existing) >= existing.freshMs,
      });
      if (response === undefined) return undefined;
      const outcome = outcomeOf(status);
      // The response was requested before this request arrived (RFC 9111, section 4).
      if (outcome === 'coalesced' && response.alwaysRevalidate) return undefined;
      const keyWithVary = keyOf(lookup, generation);
      if (keyWithVary !== key) {
        // The fetched `Vary` changed which headers the key contains.
        if (!matches(response, lookup)) return await fetch(lookup);
        responses.set(keyWithVary, response, { ttl: ttlOf(response) });
      }
      return { outcome, response, ageMs: ageOf(response) };
    } catch (error) {
      if (error instanceof TooLargeError) return undefined;
      return fallback(lookup, stored, error);
    }
  }
  return {
    find,
    fetch,
    invalidate(upstream) {
      generations.set(upstream, (generations.get(upstream) ?? 0) + 1);
    },
  };
}

/** Returns the result when no new response could be stored. @throws the error, if nothing can replace the response */
function fallback(
  lookup: CacheLookup,
  stored: StoredResponse | undefined,
  error: unknown,
): CacheResult | undefined {
  const notStored = error instanceof NotStoredError ? error : undefined;
  if (notStored === undefined || notStored.response.status >= 500) {
    if (stored !== undefined && residentTimeMs(stored) < stored.errorMs)
      return { outcome: 'stale', response: stored, ageMs: ageOf(stored), failure: error };
    if (notStored === undefined) throw error;
  } else if (notStored.lookup !== lookup) return undefined;
  const outcome = notStored.lookup === lookup ? 'miss' : 'coalesced';
  return { outcome, response: notStored.response, ageMs: initialAgeOf(notStored.response.headers) };
}

/** Returns whether the response is a server error that the previous response may replace (stale-if-error). */
function isReplaceableError({ status }: CompleteResponse, previous: StoredResponse | undefined): boolean {
  return status >= 500 && previous !== undefined && residentTimeMs(previous) < previous.errorMs;
}

/** Returns the part of the key that does not depend on the response: target, caller and keyed headers. */
function primaryKeyOf({ upstream, target, owner, sent }: CacheLookup): string {
  return compact(JSON.stringify([upstream, target, owner ?? null, sent.keyed]));
}

/** Longest part of a key that is not hashed: clients control the length of targets and headers. */
const maxKeyPartLength = 256;

/** Returns the text, or its digest if it is long. JSON starts with a bracket, so the two never collide. */
function compact(text: string): string {
  return text.length <= maxKeyPartLength ? text : hash('sha256', text, 'base64');
}

/** Negotiation headers with case-insensitive values (RFC 9110, sections 8.4.1 and 8.5.1). */
const caseInsensitiveHeaders: ReadonlySet<string> = new Set(['accept-encoding', 'accept-language']);

/**
 * Returns the normalized value of a header that the upstream gets (RFC 9111, section 4.1); null without the header. The order of list
 * members is preserved, because services read it as preference.
 */
function sentValue({ sent }: CacheLookup, name: string): string | null {
  const values = valuesOf(sent.pairs, name);
  if (values.length === 0) return null;
  const joined = values.join(',');
  if (joined.includes('"')) return joined;
  const normalized = joined.replace(/[ \t]*,[ \t]*/g, ',').trim();
  return caseInsensitiveHeaders.has(name) ? normalized.toLowerCase() : normalized;
}

/** Returns the response as it is stored; undefined if it may not be stored. */
function toStored(
  lookup: CacheLookup,
  response: CompleteResponse,
  requestedAt: number,
): StoredResponse | undefined {
  const lifetime = lifetimeOf(response, lookup.settings, lookup.owner !== undefined);
  if (lifetime === undefined) return undefined;
  const vary = varyOf(response.headers).map((name) => [name, sentValue(lookup, name)] as const);
  return { ...response, headers: withDate(response.headers), ...lifetime, vary, requestedAt };
}

/** Adds `Date` with the time of receipt if it is missing (RFC 9110, section 6.6.1). */
function withDate(headers: readonly string[]): readonly string[] {
  return valuesOf(headers, 'date').length > 0 ? headers : [...headers, 'Date', new Date().toUTCString()];
}

/** Returns whether the request headers that `Vary` names match those of the stored response (RFC 9111, section 4.1). */
function matches({ vary }: StoredResponse, lookup: CacheLookup): boolean {
  return vary.every(([name, value]) => sentValue(lookup, name) === value);
}

/** Returns the current age in milliseconds (RFC 9111, section 4.2.3). */
function ageOf(stored: StoredResponse): number {
  return stored.initialAgeMs + residentTimeMs(stored);
}

/** Returns the milliseconds until the response is stale; at least 1, because a TTL of 0 means no expiry to the library. */
function ttlOf(stored: StoredResponse): number {
  return Math.max(1, stored.freshMs - residentTimeMs(stored));
}

function outcomeOf({
  fetch,
  returnedStale,
}: LRUCache.Status<string, StoredResponse, CacheLookup>): CacheResult['outcome'] {
  if (returnedStale) return 'stale';
  if (fetch === 'hit') return 'hit';
  return fetch === 'inflight' ? 'coalesced' : 'miss';
}

/** Headers that describe the body. A 304 has none, so the stored values stay (RFC 9111, section 3.2). */
const bodyHeaders: ReadonlySet<string> = new Set([
  'content-encoding',
  'content-length',
  'content-md5',
  'content-range',
  'etag',
]);

/** Fetches a response, or revalidates the stored one and updates its headers (RFC 9111, section 4.3.4). */
async function fetchOrRevalidate(
  lookup: CacheLookup,
  stored: StoredResponse | undefined,
): Promise<CompleteResponse> {
  const response = await lookup.fetch(stored === undefined ? [] : validatorsOf(stored.headers));
  if (response.status !== 304 || stored === undefined) return response;
  const updated = without(response.headers, bodyHeaders);
  const remaining = without(stored.headers, namesOf(updated));
  const { fetchedBy } = response;
  return { status: stored.status, headers: [...remaining, ...updated], body: stored.body, fetchedBy };
}
