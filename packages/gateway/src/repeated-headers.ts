/** Headers that mean one thing: who reads the first and who reads the last would see two requests in one. */
const once: ReadonlySet<string> = new Set(['host', 'authorization', 'content-length', 'content-type']);

/**
 * Whether a request has a header twice that it may have once (RFC 9112, section 3.2; RFC 9110, section 5.3). Node shows the
 * first and drops the rest, but passes all of them on.
 * @param rawHeaders name, value, name, value
 */
export function repeatsHeader(rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const bit = bits.get(name.length);
    if (bit === undefined || !once.has(name.toLowerCase())) continue;
    if ((seen & bit) !== 0) return true;
    seen |= bit;
  }
  return false;
}

/** Their lengths are all different, and tell most other headers apart at no cost. */
const bits: ReadonlyMap<number, number> = new Map([...once].map((name, index) => [name.length, 1 << index]));
