import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { Failure } from '../failure.ts';
import { inSpan } from '../tracing/in-span.ts';
import { withTimeout } from '../with-timeout.ts';

/** Keys of an issuer, from the issuer or from a copy. */
export interface KeyCopy extends JSONWebKeySet {
  /** Returns the milliseconds since the issuer returned these keys; 0 by default, for keys from the issuer itself. */
  readonly ageMs?: number;
}

/** Loads the keys of an issuer. It must time out by itself: only one load runs at a time. */
export type LoadKeys = () => Promise<KeyCopy>;

/** Finds the verification key of a token. */
export interface KeySet extends JWTVerifyGetKey {
  /** Starts the first load in the background, so that the keys are loaded before the first token arrives. */
  prime(): void;
  /** Milliseconds since the issuer returned the keys of this process; infinite before the first load. */
  ageMs(): number;
  /**
   * Returns the keys of this process, with their age.
   * @throws Failure `identity-unavailable` if there are no usable keys
   */
  copy(): Promise<Required<KeyCopy>>;
}

export interface KeySetOptions {
  readonly load: LoadKeys;
  /**
   * Other sources of the same keys, tried in order if the issuer is unavailable or takes longer than `fallbackAfterMs`. Each returns the
   * age of its copy, which counts against `maxAgeMs` and `maxStaleMs`. None by default.
   */
  readonly fallbacks?: readonly LoadKeys[];
  /** Milliseconds to wait for the issuer before the fallbacks are tried; 1,000 by default. */
  readonly fallbackAfterMs?: number;
  /** Called with the keys after each successful load from the issuer itself. */
  readonly onLoad?: (keys: KeyCopy) => void;
  /**
   * Maximum age of keys in milliseconds before they are loaded again; 570,000 by default. Together with the 30 s that verified tokens are
   * cached, a withdrawn key is accepted for at most ten minutes while the issuer is available.
   */
  readonly maxAgeMs?: number;
  /** Milliseconds after `maxAgeMs` in which stale keys are used while the issuer is unavailable; one hour by default. */
  readonly maxStaleMs?: number;
  /** Maximum time in milliseconds that a request waits for a load; 3,000 by default. */
  readonly waitMs?: number;
  /** Milliseconds after a failed load in which requests use stale keys without waiting for another load; 30,000 by default. */
  readonly graceMs?: number;
  /**
   * Milliseconds that a key is remembered as unknown after a load without it; 30,000 by default. Within this time unknown keys cause at
   * most two loads, so that a new key is found immediately.
   */
  readonly cooldownMs?: number;
  /** Minimum time in milliseconds between a failed load and the next one; 1,000 by default. */
  readonly retryMs?: number;
  /** Called with the error of each failed load. */
  readonly onFailure?: (error: unknown) => void;
  /** Monotonic clock in milliseconds; `performance.now` by default. */
  readonly now?: () => number;
}

interface Loaded {
  readonly keys: JSONWebKeySet['keys'];
  readonly find: JWTVerifyGetKey;
  /** When the issuer returned these keys. They may include keys withdrawn since then. */
  readonly at: number;
}

/** Maximum number of loads caused by unknown keys within `cooldownMs`. */
const maxUnknownLoads = 2;
/** Maximum number of remembered unknown keys; the oldest is evicted first. */
const maxUnknown = 1000;

/** Fraction of `maxAgeMs` after which keys are reloaded in the background, so that no request waits while the issuer is available. */
const backgroundShare = 0.8;

/**
 * Creates a key set that caches the keys of an issuer. Keys are loaded at first use, in the background before they expire, and when a
 * token names an unknown key. Only one load runs at a time.
 *
 * Keys older than `maxAgeMs` are used only if a load has failed or timed out, and for at most `maxStaleMs` more. Without this limit, an
 * attacker with a withdrawn key could keep it valid by keeping the issuer unavailable. Copies from fallbacks have the same limits,
 * because they carry their age.
 *
 * A key is rejected as unknown only after a load without it. If no load may start, the token can be neither accepted nor rejected.
 * @returns a function that finds the key of a token and throws Failure `identity-unavailable` if it cannot decide
 */
export function createKeySet({
  load,
  fallbacks = [],
  fallbackAfterMs = 1000,
  onLoad,
  maxAgeMs = 570_000,
  maxStaleMs = 3_600_000,
  waitMs = 3000,
  graceMs = 30_000,
  cooldownMs = 30_000,
  retryMs = 1000,
  onFailure,
  now = () => performance.now(),
}: KeySetOptions): KeySet {
  let loaded: Loaded | undefined;
  let failedAt = Number.NEGATIVE_INFINITY;
  /** When a request last stopped waiting for a slow load. */
  let slowAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;
  /** Time of the last load without a key, by algorithm and key id. */
  const unknown = new Map<string, number>();
  /** Times of the loads caused by unknown keys, oldest first. */
  let unknownLoads: readonly number[] = [];

  async function loadFromIssuer(): Promise<KeyCopy> {
    const copy = await load();
    onLoad?.(copy);
    return copy;
  }

  async function loadFromAny(): Promise<KeyCopy> {
    const issuer = loadFromIssuer();
    if (fallbacks.length === 0) return issuer;
    try {
      return await withTimeout(issuer, fallbackAfterMs, () => {
        throw new Error(`the issuer did not return its keys within ${fallbackAfterMs} ms`);
      });
    } catch (error) {
      onFailure?.(error);
    }
    for (const fallback of fallbacks) {
      try {
        return await fallback();
      } catch (error) {
        onFailure?.(error);
      }
    }
    return issuer;
  }

  async function reload(startedAt: number, delaysNext: boolean): Promise<void> {
    try {
      const { keys, ageMs = 0 } = await loadFromAny();
      const at = startedAt - ageMs;
      if (ageMs > maxAgeMs + maxStaleMs) throw new Error('the copy of the keys is too old');
      if (loaded === undefined || at >= loaded.at) loaded = { keys, find: createLocalJWKSet({ keys }), at };
      // A copy means that the issuer is unavailable: as after a failure, requests do not wait for another load.
      failedAt = ageMs > 0 ? now() : Number.NEGATIVE_INFINITY;
      slowAt = Number.NEGATIVE_INFINITY;
    } catch (error) {
      // When the whole system starts, the issuer may not listen yet. The first request must be able to try again.
      if (delaysNext) failedAt = now();
      onFailure?.(error);
    }
  }

  /**
   * Returns the load in flight or starts one; undefined within `retryMs` of a failed load, to spare a recovering issuer.
   * @param delaysNext whether its failure counts for that: not at startup, and not if another process asks for a copy
   */
  function startLoad(delaysNext = true): Promise<void> | undefined {
    if (loading === undefined && now() - failedAt < retryMs) return undefined;
    loading ??= reload(now(), delaysNext).finally(() => {
      loading = undefined;
    });
    return loading;
  }

  async function waitForLoad(delaysNext: boolean): Promise<void> {
    const started = startLoad(delaysNext);
    if (started === undefined) return;
    const startedAt = now();
    await inSpan(
      'keys',
      () => ({ name: 'wait for keys' }),
      async (span) => {
        await withTimeout(started, waitMs, () => {
          slowAt = now();
          span?.fail('timeout');
        });
        if (failedAt >= startedAt) span?.fail('load_failed');
      },
    );
  }

  /** Returns the keys unless they are past `maxStaleMs`. */
  function usableKeys(): Loaded | undefined {
    return loaded !== undefined && now() - loaded.at <= maxAgeMs + maxStaleMs ? loaded : undefined;
  }

  async function currentKeys(delaysNext = true): Promise<Loaded> {
    const cached = usableKeys();
    const ageMs = cached === undefined ? Number.POSITIVE_INFINITY : now() - cached.at;
    const inGrace = now() - Math.max(failedAt, slowAt) < graceMs;
    if (cached === undefined || (ageMs > maxAgeMs && !inGrace)) {
      await waitForLoad(delaysNext);
      // If this was the load at startup and it failed, another one may start immediately.
      if (delaysNext && usableKeys() === undefined && loading === undefined) await waitForLoad(true);
    } else if (ageMs > maxAgeMs * backgroundShare) void startLoad();
    const keys = usableKeys();
    if (keys === undefined) throw unavailable();
    return keys;
  }

  /** Loads the keys again because a key is missing. @throws Failure `identity-unavailable` if no load may start or the load fails */
  async function loadForUnknown(keys: Loaded): Promise<Loaded> {
    if (loading === undefined) {
      const at = now();
      const recent = unknownLoads.filter((time) => at - time < cooldownMs);
      if (recent.length >= maxUnknownLoads) throw unavailable(cooldownMs - (at - (recent[0] ?? at)));
      unknownLoads = [...recent, at];
    }
    await waitForLoad(true);
    // Without a new copy from the issuer, the key may be a new one.
    if (loaded === undefined || loaded === keys) throw unavailable();
    return loaded;
  }

  function rememberUnknown(name: string): void {
    unknown.delete(name);
    if (unknown.size >= maxUnknown) unknown.delete(unknown.keys().next().value ?? '');
    unknown.set(name, now());
  }

  const find: JWTVerifyGetKey = async (header, token) => {
    const startedAt = now();
    const keys = await currentKeys();
    try {
      return await keys.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const name = JSON.stringify([header?.alg, header?.kid]);
      const missedAt = unknown.get(name);
      if (missedAt !== undefined && now() - missedAt < cooldownMs) throw error;
      const reloaded = keys.at >= startedAt ? keys : await loadForUnknown(keys);
      try {
        return await reloaded.find(header, token);
      } catch (retryError) {
        if (retryError instanceof errors.JWKSNoMatchingKey) rememberUnknown(name);
        throw retryError;
      }
    }
  };
  return Object.assign(find, {
    prime(): void {
      void startLoad(false);
    },
    ageMs: () => (loaded === undefined ? Number.POSITIVE_INFINITY : Math.max(0, now() - loaded.at)),
    async copy() {
      const { keys, at } = await currentKeys(false);
      return { keys, ageMs: Math.max(0, now() - at) };
    },
  });
}

/** @param ms milliseconds until a retry can succeed; 1,000 by default */
function unavailable(ms = 1000): Failure {
  return new Failure('identity-unavailable', { retryAfterSeconds: Math.max(1, Math.ceil(ms / 1000)) });
}
