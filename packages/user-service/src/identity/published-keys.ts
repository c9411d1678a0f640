import type { KeyCopy } from '@zerda/chassis/auth/key-set';
import { withTimeout } from '@zerda/chassis/with-timeout';
import type { PublicKey } from '@zerda/contracts/user-service/identity';

/** The published keys and the age of this copy. */
export interface PublishedCopy extends KeyCopy {
  readonly keys: PublicKey[];
  readonly ageMs: number;
}

export interface PublishedKeysOptions {
  /** Reads the keys from the database. */
  readonly read: () => Promise<PublicKey[]>;
  /** Milliseconds to wait for the database before the cached keys are returned; 1,000 by default. */
  readonly waitMs?: number;
  /** Maximum age of the cached keys in milliseconds; an hour by default. */
  readonly maxAgeMs?: number;
  /** Monotonic clock in milliseconds; `performance.now` by default. */
  readonly now?: () => number;
}

/**
 * Returns a function that reads the keys from the database. If the database is unavailable, it returns the cached keys with their age,
 * so that verifiers that start in the meantime accept tokens. Cached keys expire after `maxAgeMs`, because a key can be withdrawn.
 * The function throws the error of the database if there are no cached keys.
 */
export function createPublishedKeys({
  read,
  waitMs = 1000,
  maxAgeMs = 3_600_000,
  now = () => performance.now(),
}: PublishedKeysOptions): () => Promise<PublishedCopy> {
  let last: { readonly keys: PublicKey[]; readonly at: number } | undefined;

  async function readCurrent(): Promise<PublishedCopy> {
    const at = now();
    const keys = await read();
    if (last === undefined || at >= last.at) last = { keys, at };
    return { keys, ageMs: 0 };
  }

  function fromMemory(): PublishedCopy | undefined {
    const ageMs = last === undefined ? Number.POSITIVE_INFINITY : now() - last.at;
    return last !== undefined && ageMs <= maxAgeMs ? { keys: last.keys, ageMs } : undefined;
  }

  return async () => {
    const current = readCurrent();
    if (fromMemory() === undefined) return current;
    try {
      return (await withTimeout(current, waitMs, fromMemory)) ?? (await current);
    } catch (error) {
      const cached = fromMemory();
      if (cached === undefined) throw error;
      return cached;
    }
  };
}
