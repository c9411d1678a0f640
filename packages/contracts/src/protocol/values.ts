import { z } from 'zod';

/** The largest id there can be: ids are 32-bit integers. */
export const largestId = 2_147_483_647;

/** Id of a user or an order: a positive 32-bit integer, as the database counts them. */
export const id = z.int().min(1).max(largestId);

/** An id in a path or a query, where everything is text. No sign, no leading zero, so one resource has one URL. */
export const idText = z
  .string()
  .regex(/^[1-9][0-9]{0,9}$/, 'must be a positive integer')
  .transform(Number)
  .pipe(id)
  .meta({ type: 'integer', minimum: 1, maximum: largestId });

/** A moment: RFC 3339 in UTC with milliseconds. */
export const instant = z.iso.datetime({ precision: 3 });

/** Spaces that `String.prototype.trim` removes, without the control characters among them. */
const space = '\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff';
/** C0 and C1 controls: PostgreSQL cannot store U+0000, and a terminal obeys the others. */
const control = '\\u0000-\\u001f\\u007f-\\u009f';
/** Spaces, then something else: the two first sets share no character, so matching takes linear time. */
const visibleLine = new RegExp(`^[${space}]*[^${space}${control}][^${control}]*$`);

/** Text of one line that people read: 1 to `max` characters (code points), not only spaces; trimmed. */
export function line(max: number) {
  return z
    .string()
    .refine((text) => text.length <= 2 * max && [...text].length <= max, {
      error: `must have at most ${max} characters`,
      abort: true,
    })
    .refine(isWellFormed, 'must not contain half of a surrogate pair')
    .regex(visibleLine, 'must not be empty or contain control characters')
    .trim()
    .meta({ minLength: 1, maxLength: max });
}

/** Whether the text can be written as UTF-8 and read back. */
export function isWellFormed(text: string): boolean {
  return !/\p{Cs}/u.test(text);
}

/** A number of things the service counts. */
export const count = z.int().min(0);

const largestTotal = 9_999_999.99;

/** An amount above zero with at most two decimals. The services keep it as whole cents. */
export const amount = z
  .number()
  .min(0.01)
  .max(largestTotal)
  .refine(hasTwoDecimals, 'must have at most two decimals')
  .meta({ multipleOf: 0.01 });

/** A sum of amounts: zero or more, at most two decimals. */
export const sum = z.number().min(0);

function hasTwoDecimals(value: number): boolean {
  return Number(value.toFixed(2)) === value;
}
