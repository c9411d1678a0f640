/** Headers in the flat form that Node and undici process fastest: name, value, name, value. */
type HeaderPairs = readonly string[];

/** Returns the names, in lower case. */
export function namesOf(pairs: HeaderPairs): Set<string> {
  return new Set(pairs.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase()));
}

/** Returns the headers without those of these names. @param names in lower case */
export function without(pairs: HeaderPairs, names: ReadonlySet<string>): string[] {
  return pairs.filter((_text, index) => !names.has((pairs[index - (index % 2)] ?? '').toLowerCase()));
}

/** Returns all values of a header. @param name in lower case */
export function valuesOf(pairs: HeaderPairs, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < pairs.length; index += 2) {
    if (pairs[index]?.toLowerCase() === name) values.push(pairs[index + 1] ?? '');
  }
  return values;
}
