/** Object id of PostgreSQL's `int8`: bigint columns, `count(*)` and sums of integers. */
export const int8 = 20;

/**
 * Reads an `int8` as a number: the one place for both engines, whose own ways differ.
 * @throws RangeError for what a number cannot hold exactly
 */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} does not fit a number`);
  return value;
}
