import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { Failure } from '../failure.ts';

/** Where the keys of an issuer come from. */
export type LoadKeys = () => Promise<JSONWebKeySet>;

export interface KeySetOptions {
  readonly load: LoadKeys;
  /** Milliseconds after which keys are loaded anew, while the old ones still serve; ten minutes by default. */
  readonly maxAgeMs?: number;
  /** Milliseconds after a load in which no key that is unknown makes another; 30 s by default. */
  readonly cooldownMs?: number;
  /** Milliseconds after a load that failed before the next one; a second by default. */
  readonly retryMs?: number;
  /** Hears of loads that failed. */
  readonly onFailure?: (error: unknown) => void;
}

interface Loaded {
  readonly find: JWTVerifyGetKey;
  readonly at: number;
}

/**
 * The keys of an issuer, kept: loaded at first use, anew when they are old or a token names one that is not among them, by one load
 * at a time whoever waits for it. Keys that were had once go on serving while the issuer is away: no new token comes from it then, and
 * the old ones end by themselves.
 * @returns finds the key of a token, @throws Failure `identity-unavailable` when it cannot be known
 */
export function createKeySet({
  load,
  maxAgeMs = 600_000,
  cooldownMs = 30_000,
  retryMs = 1000,
  onFailure,
}: KeySetOptions): JWTVerifyGetKey {
  let loaded: Loaded | undefined;
  let failedAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;

  async function reload(): Promise<void> {
    try {
      loaded = { find: createLocalJWKSet(await load()), at: performance.now() };
      failedAt = Number.NEGATIVE_INFINITY;
    } catch (error) {
      failedAt = performance.now();
      onFailure?.(error);
    }
  }

  /** Does nothing soon after a load that failed: an issuer that is away gets no crowd when it comes back. */
  async function refresh(): Promise<void> {
    if (loading === undefined && performance.now() - failedAt < retryMs) return;
    loading ??= reload().finally(() => {
      loading = undefined;
    });
    await loading;
  }

  return async (header, token) => {
    if (loaded === undefined) await refresh();
    if (loaded === undefined) throw unavailable();
    if (performance.now() - loaded.at > maxAgeMs) void refresh();
    try {
      return await loaded.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || performance.now() - loaded.at < cooldownMs)
        throw error;
      const before: Loaded = loaded;
      await refresh();
      // It may be a key that is new, which only its issuer can tell.
      if (loaded === before) throw unavailable();
      return loaded.find(header, token);
    }
  };
}

function unavailable(): Failure {
  return new Failure('identity-unavailable', { headers: { 'Retry-After': '1' } });
}
