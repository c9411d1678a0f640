import type { Lifetime } from './freshness.ts';

/** A whole answer of an upstream. */
export interface WholeAnswer {
  readonly status: number;
  /** Headers that may be passed on: name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** An answer that is kept. */
export interface KeptAnswer extends WholeAnswer, Lifetime {
  /** Headers that the answer depends on, with the values the upstream got; null for none. */
  readonly vary: readonly (readonly [name: string, value: string | null])[];
  /** When it was asked for, on the clock of `performance.now()`: what it shows is not older. */
  readonly askedAt: number;
}

/** Bytes that an entry takes beside the texts in it, roughly. */
const overheadBytes = 500;

/** Bytes that an answer takes in the cache. */
export function sizeOf({ headers, body, vary }: KeptAnswer, key: string): number {
  const ofRequest = vary.reduce((sum, [name, value]) => sum + name.length + (value?.length ?? 0), key.length);
  // Texts may take two bytes a character.
  const texts = headers.reduce((sum, text) => sum + text.length, ofRequest);
  return overheadBytes + 2 * texts + body.length;
}

/** Milliseconds since it was asked for. */
export function heldFor({ askedAt }: KeptAnswer): number {
  return performance.now() - askedAt;
}
