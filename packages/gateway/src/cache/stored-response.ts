import type { Lifetime } from './freshness.ts';

/** A response of an upstream with its whole body. */
export interface CompleteResponse {
  readonly status: number;
  /** Headers that may be passed on: name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  /** `traceparent` of the span of the call; undefined unless it is recorded. */
  readonly fetchedBy?: string | undefined;
}

/** A response in the cache. */
export interface StoredResponse extends CompleteResponse, Lifetime {
  /** Request headers that `Vary` names, with the values that the upstream got; null if it got none. */
  readonly vary: readonly (readonly [name: string, value: string | null])[];
  /** When the response was requested, on the clock of `performance.now()`. Its content is not older. */
  readonly requestedAt: number;
}

/** Approximate bytes of an entry beside its text and body. */
const overheadBytes = 500;

/** Returns the approximate bytes that a response takes in the cache. */
export function sizeOf({ headers, body, vary }: StoredResponse, key: string): number {
  const keyLength = vary.reduce((sum, [name, value]) => sum + name.length + (value?.length ?? 0), key.length);
  // A string takes up to two bytes per character.
  const textLength = headers.reduce((sum, text) => sum + text.length, keyLength);
  return overheadBytes + 2 * textLength + body.length;
}

/** Returns the milliseconds since the response was requested. */
export function residentTimeMs({ requestedAt }: StoredResponse): number {
  return performance.now() - requestedAt;
}
