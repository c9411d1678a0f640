import { z } from 'zod';

/** Largest possible id: ids are 32-bit integers. */
export const largestId = 2_147_483_647;

/** Id of a user or an order: a positive 32-bit integer from a database sequence. */
export const id = z.int().min(1).max(largestId);

/** An id in a path or a query. Signs and leading zeros are rejected, so that each resource has exactly one URL. */
export const idText = z
  .string()
  .regex(/^[1-9][0-9]{0,9}$/, 'must be a positive integer')
  .transform(Number)
  .pipe(id)
  .meta({ type: 'integer', minimum: 1, maximum: largestId });

/** A timestamp: RFC 3339 in UTC with milliseconds. */
export const instant = z.iso.datetime({ precision: 3 });

/** White space that `String.prototype.trim` removes, except control characters. */
const space = '\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff';
/** C0 and C1 control characters: PostgreSQL cannot store U+0000, and terminals interpret the others. */
const control = '\\u0000-\\u001f\\u007f-\\u009f';
/** At least one visible character. The first two character sets are disjoint, so matching takes linear time. */
const visibleLine = new RegExp(`^[${space}]*[^${space}${control}][^${control}]*$`);

/** Schema of a single line of text: 1 to `max` code points, trimmed, not only white space. */
export function line(max: number) {
  return z
    .string()
    .refine((text) => text.length <= 2 * max && [...text].length <= max, {
      error: `must have at most ${max} characters`,
      abort: true,
    })
    .refine(isWellFormed, 'must not contain an unpaired surrogate')
    .regex(visibleLine, 'must not be empty or contain control characters')
    .trim()
    .meta({ minLength: 1, maxLength: max });
}

/** Returns whether the text has no unpaired surrogate, so that UTF-8 preserves it. */
export function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}

/** A count: an integer of zero or more. */
export const count = z.int().min(0);

const largestTotal = 9_999_999.99;

/** An amount greater than zero with at most two decimals. The services store it as integer cents. */
export const amount = z
  .number()
  .min(0.01)
  .max(largestTotal)
  .refine(hasTwoDecimals, 'must have at most two decimals')
  .meta({ multipleOf: 0.01 });

/** A sum of amounts: zero or more, with at most two decimals. */
export const sum = z.number().min(0);

function hasTwoDecimals(value: number): boolean {
  return Number(value.toFixed(2)) === value;
}
