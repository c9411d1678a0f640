import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { Failure } from '../failure.ts';
import { within } from '../within.ts';

/** Keys of an issuer, as loaded. */
export interface KeyCopy extends JSONWebKeySet {
  /** Milliseconds since the issuer had exactly these keys; 0 by default, for keys that come from the issuer itself. */
  readonly ageMs?: number;
}

/** Loads the keys of an issuer. The load must end by itself: no other one starts before. */
export type LoadKeys = () => Promise<KeyCopy>;

/** Finds the key of a token. */
export interface KeySet extends JWTVerifyGetKey {
  /** Starts the first load, so that a process has the keys before the first token arrives. */
  prime(): void;
  /**
   * The keys as this process has them, with their age.
   * @throws Failure `identity-unavailable` when it has none that may be used
   */
  copy(): Promise<Required<KeyCopy>>;
}

export interface KeySetOptions {
  readonly load: LoadKeys;
  /**
   * Other sources of the same keys, in order, for the time in which the issuer is unavailable or takes longer than `fallbackAfterMs`.
   * Each returns the age of its copy, which counts against `maxAgeMs` and `maxStaleMs`; none by default.
   */
  readonly fallbacks?: readonly LoadKeys[];
  /** Milliseconds that the issuer has before the fallbacks are asked; a second by default. */
  readonly fallbackAfterMs?: number;
  /** Called with keys that the issuer itself has returned. */
  readonly onLoad?: (keys: KeyCopy) => void;
  /**
   * Milliseconds that keys are used without asking their issuer again. The default is 570,000: with the 30 s that a verified token is
   * remembered, a withdrawn key is accepted for ten minutes at most while its issuer answers.
   */
  readonly maxAgeMs?: number;
  /** Milliseconds after `maxAgeMs` in which keys are used while their issuer is unavailable; an hour by default. */
  readonly maxStaleMs?: number;
  /** Milliseconds that a request waits for a load at most; 3 s by default. */
  readonly waitMs?: number;
  /** Milliseconds after a load that failed in which requests use old keys without waiting for another; 30 s by default. */
  readonly graceMs?: number;
  /**
   * Milliseconds that a key counts as unknown after a load that did not have it, and after which unknown keys may cause one more load;
   * 30 s by default. Two such loads in a row are possible, so that a new key is found at once.
   */
  readonly cooldownMs?: number;
  /** Milliseconds after a load that failed before the next one; a second by default. */
  readonly retryMs?: number;
  /** Called with the error of a load that failed. */
  readonly onFailure?: (error: unknown) => void;
  /** A clock in milliseconds that only goes forward; `performance.now` by default. */
  readonly now?: () => number;
}

interface Loaded {
  readonly keys: JSONWebKeySet['keys'];
  readonly find: JWTVerifyGetKey;
  /** When the issuer had these keys: a key withdrawn after that may be among them. */
  readonly at: number;
}

/** Loads that unknown keys may cause one after another; each comes back after `cooldownMs`. */
const maxUnknownLoads = 2;
/** Unknown keys that are remembered; the oldest goes first. */
const maxUnknown = 1000;

/** Share of `maxAgeMs` after which keys are loaded in the background, so that no request waits while the issuer answers. */
const backgroundShare = 0.8;

/**
 * The keys of an issuer. They are loaded at first use, in the background before they are too old, and when a token names a key that is
 * not among them, by one load at a time. Keys older than `maxAgeMs` are used only after a load was tried and waited for. While the
 * issuer is unavailable they are used for `maxStaleMs` more, and then no longer: else an attacker with a withdrawn key could
 * prolong its use by keeping the issuer unavailable. The same holds for copies of the fallbacks, whose age travels with them. A key is
 * unknown only if a load did not have it: while no load may start for it, whether its token is valid cannot be known.
 * @returns finds the key of a token, @throws Failure `identity-unavailable` when it cannot be known
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
  /** When a request last stopped waiting for a load that took too long. */
  let slowAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;
  /** When a load did not have a key, by the key's name. */
  const unknown = new Map<string, number>();
  /** When unknown keys caused loads, the oldest first. */
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
      return await within(issuer, fallbackAfterMs, () => {
        throw new Error(`the keys did not arrive within ${fallbackAfterMs} ms`);
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

  async function reload(startedAt: number, atStart: boolean): Promise<void> {
    try {
      const { keys, ageMs = 0 } = await loadFromAny();
      const at = startedAt - ageMs;
      if (ageMs > maxAgeMs + maxStaleMs) throw new Error('the copy of the keys is too old to be used');
      if (loaded === undefined || at >= loaded.at) loaded = { keys, find: createLocalJWKSet({ keys }), at };
      // A copy shows that the issuer is unavailable: as after a failure, requests use it without waiting for another.
      failedAt = ageMs > 0 ? now() : Number.NEGATIVE_INFINITY;
      slowAt = Number.NEGATIVE_INFINITY;
    } catch (error) {
      // At a start of the whole system the issuer may not listen yet: that must not keep the first request from asking it.
      if (!atStart) failedAt = now();
      onFailure?.(error);
    }
  }

  /** The load in flight, or a new one; undefined soon after a load that failed: a recovering issuer gets no burst. */
  function startLoad(atStart = false): Promise<void> | undefined {
    if (loading === undefined && now() - failedAt < retryMs) return undefined;
    loading ??= reload(now(), atStart).finally(() => {
      loading = undefined;
    });
    return loading;
  }

  async function waitForLoad(): Promise<void> {
    const started = startLoad();
    if (started === undefined) return;
    await within(started, waitMs, () => {
      slowAt = now();
    });
  }

  /** The keys, unless they are too old to be used whatever the issuer does. */
  function usable(): Loaded | undefined {
    return loaded !== undefined && now() - loaded.at <= maxAgeMs + maxStaleMs ? loaded : undefined;
  }

  async function current(): Promise<Loaded> {
    const found = usable();
    const ageMs = found === undefined ? Number.POSITIVE_INFINITY : now() - found.at;
    const triedLately = now() - Math.max(failedAt, slowAt) < graceMs;
    if (found === undefined || (ageMs > maxAgeMs && !triedLately)) {
      await waitForLoad();
      // It may have joined the load at the start, after whose failure another one may begin at once.
      if (usable() === undefined && loading === undefined) await waitForLoad();
    } else if (ageMs > maxAgeMs * backgroundShare) void startLoad();
    const keys = usable();
    if (keys === undefined) throw unavailable();
    return keys;
  }

  /** Loads keys for one that is not among them. @throws Failure when no load may start or none succeeds */
  async function loadForUnknown(keys: Loaded): Promise<Loaded> {
    if (loading === undefined) {
      const at = now();
      const recent = unknownLoads.filter((time) => at - time < cooldownMs);
      if (recent.length >= maxUnknownLoads) throw unavailable(cooldownMs - (at - (recent[0] ?? at)));
      unknownLoads = [...recent, at];
    }
    await waitForLoad();
    // It may be a key that is new, which only its issuer can tell.
    if (loaded === undefined || loaded === keys) throw unavailable();
    return loaded;
  }

  function remember(name: string): void {
    unknown.delete(name);
    if (unknown.size >= maxUnknown) unknown.delete(unknown.keys().next().value ?? '');
    unknown.set(name, now());
  }

  const find: JWTVerifyGetKey = async (header, token) => {
    const startedAt = now();
    const keys = await current();
    try {
      return await keys.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const name = JSON.stringify([header?.alg, header?.kid]);
      const missedAt = unknown.get(name);
      if (missedAt !== undefined && now() - missedAt < cooldownMs) throw error;
      const renewed = keys.at >= startedAt ? keys : await loadForUnknown(keys);
      try {
        return await renewed.find(header, token);
      } catch (stillUnknown) {
        if (stillUnknown instanceof errors.JWKSNoMatchingKey) remember(name);
        throw stillUnknown;
      }
    }
  };
  return Object.assign(find, {
    prime(): void {
      void startLoad(true);
    },
    async copy() {
      const { keys, at } = await current();
      return { keys, ageMs: Math.max(0, now() - at) };
    },
  });
}

/** @param ms milliseconds until it can be known; a second by default */
function unavailable(ms = 1000): Failure {
  return new Failure('identity-unavailable', {
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(ms / 1000))) },
  });
}
