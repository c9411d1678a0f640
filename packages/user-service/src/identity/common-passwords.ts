import { createHash } from 'node:crypto';

/** Lists of common passwords, in the form that `comparable` returns. */
export interface CommonPasswordLists {
  /** Passwords that are rejected unmodified. */
  readonly passwords: Iterable<string>;
  /** The most common passwords of any length, which are also rejected with a few added characters. */
  readonly bases: Iterable<string>;
}

/** Lookups in the Bloom filter. The false positive rate is 2^-24, about one in 16 million. */
export interface CommonPasswords {
  /** Returns whether a text, in the form of `comparable`, is in the list of passwords. */
  isCommon(text: string): boolean;
  /** Returns whether a text, in the form of `comparable`, is in the list of bases. */
  isBase(text: string): boolean;
}

/** Returns a text in NFKC without white space, control characters and invisible characters. */
export function visible(text: string): string {
  return text.normalize('NFKC').replaceAll(invisible, '');
}

/** Joiners, variation selectors and fillers are default ignorable (Unicode Standard, section 5.21); U+2800 is blank. */
const invisible = /[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/**
 * Returns the form in which passwords are compared with the lists: visible characters without combining marks and letter case.
 * Hashing uses the password as the contract normalizes it, not this form.
 */
export function comparable(text: string): string {
  return visible(text)
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKD');
}

/** Filter size in bits per key and number of hash functions: close to the optimum for a false positive rate of 2^-24. */
const bitsPerKey = 35;
const hashes = 24;

/** Builds the filter that `openCommonPasswords` reads. */
export function buildCommonPasswords({ passwords, bases }: CommonPasswordLists): Buffer {
  const keys = new Set([...map(passwords, passwordKey), ...map(bases, baseKey)]);
  const filter = Buffer.alloc(Math.ceil((keys.size * bitsPerKey) / 8));
  for (const key of keys) {
    for (const bit of bitsOf(key, filter)) filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
  }
  return filter;
}

/** Opens a filter that `buildCommonPasswords` built. */
export function openCommonPasswords(filter: Uint8Array): CommonPasswords {
  function has(key: string): boolean {
    for (const bit of bitsOf(key, filter))
      if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
    return true;
  }
  return { isCommon: (text) => has(passwordKey(text)), isBase: (text) => has(baseKey(text)) };
}

const passwordKey = (text: string): string => `password ${text}`;
const baseKey = (text: string): string => `base ${text}`;

/** Yields the bit positions of a key by double hashing (Kirsch and Mitzenmacher, 2006). */
function* bitsOf(key: string, { length }: Uint8Array): Generator<number> {
  const digest = createHash('sha256').update(key).digest();
  const first = digest.readUInt32LE(0);
  const step = digest.readUInt32LE(4);
  for (let index = 0; index < hashes; index++) yield (first + index * step) % (length * 8);
}

function* map<From, To>(items: Iterable<From>, change: (item: From) => To): Generator<To> {
  for (const item of items) yield change(item);
}
