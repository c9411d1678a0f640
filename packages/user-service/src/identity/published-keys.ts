import type { KeyCopy } from '@zerda/chassis/auth/key-set';
import { within } from '@zerda/chassis/within';
import type { PublicKey } from '@zerda/contracts/identity';

/** The published keys, and how old this knowledge of them is. */
export interface PublishedCopy extends KeyCopy {
  readonly keys: PublicKey[];
  readonly ageMs: number;
}

export interface PublishedKeysOptions {
  /** Reads the keys from the database. */
  readonly read: () => Promise<PublicKey[]>;
  /** Milliseconds that the database has before the last keys are returned instead; a second by default. */
  readonly waitMs?: number;
  /** Milliseconds in which the last keys are returned while the database is unavailable; an hour by default. */
  readonly maxAgeMs?: number;
  /** A clock in milliseconds that only goes forward; `performance.now` by default. */
  readonly now?: () => number;
}

/**
 * Returns the keys as the database has them. While it is unavailable, returns the last ones from memory, with their age: verifiers
 * that start then still accept tokens. Their use ends after `maxAgeMs`, since a key may have been withdrawn meanwhile.
 * @returns reads the keys, @throws the error of the database when there are none from before
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
      return (await within(current, waitMs, fromMemory)) ?? (await current);
    } catch (error) {
      const remembered = fromMemory();
      if (remembered === undefined) throw error;
      return remembered;
    }
  };
}
