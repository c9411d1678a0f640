/** Headers of a response in undici: name, value, name, value. */
export type RawHeaders = readonly Buffer[];

const noValues: readonly string[] = [];

/** Returns all values of a header, decoded as Latin-1. @param name header name in lower case */
export function rawValuesOf(raw: RawHeaders, name: string): readonly string[] {
  let values = noValues;
  for (let index = 0; index < raw.length; index += 2) {
    const candidate = raw[index];
    // Comparing lengths first is cheap and excludes most names.
    if (candidate?.length === name.length && candidate.toString('latin1').toLowerCase() === name)
      values = [...values, raw[index + 1]?.toString('latin1') ?? ''];
  }
  return values;
}
