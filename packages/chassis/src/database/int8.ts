/** Object id of the PostgreSQL type `int8`: bigint columns, `count(*)` and sums of integers. */
export const int8 = 20;

/**
 * Parses an `int8` as a number, for both engines.
 * @throws RangeError if the value is not a safe integer
 */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} exceeds the safe integer range`);
  return value;
}
