/** Headers of a response as undici has them: name, value, name, value. */
export type RawHeaders = readonly Buffer[];

const none: readonly string[] = [];

/** All values of a header, read as Latin-1. @param name in lower case */
export function rawValuesOf(raw: RawHeaders, name: string): readonly string[] {
  let values = none;
  for (let index = 0; index < raw.length; index += 2) {
    const candidate = raw[index];
    // Most names differ in length, which costs nothing to see.
    if (candidate?.length === name.length && candidate.toString('latin1').toLowerCase() === name)
      values = [...values, raw[index + 1]?.toString('latin1') ?? ''];
  }
  return values;
}
