import { Failure } from '../failure.ts';

/** In valid JSON: a string, which is passed over, or a number. */
const stringOrNumber = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g;

/** Digits that every double keeps (DBL_DIG of C). */
const safeDigits = 15;

/**
 * Parses JSON, and accepts a number only when JavaScript writes it back with the same value: it is never silently another one
 * (RFC 8259, section 6, and RFC 7493, section 2.2). Up to 15 digits within the range of a double always are.
 * @throws Failure `invalid-request` for text that is not JSON, and for a number that a double cannot hold
 */
export function parseExactJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure('invalid-request', { detail: 'The body is not JSON.' });
  }
  for (const [token] of text.matchAll(stringOrNumber)) {
    if (token.startsWith('"') || isExact(token)) continue;
    throw new Failure('invalid-request', {
      detail: 'A number in the body has more digits than a double-precision number holds.',
    });
  }
  return value;
}

function isExact(token: string): boolean {
  // Neither can an exponent be out of range.
  if (token.length <= safeDigits && !/e/i.test(token)) return true;
  const read = Number(token);
  return Number.isFinite(read) && decimalOf(token) === decimalOf(String(read));
}

const parts = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i;

/** The value of a decimal number in one spelling for all that are equal: sign, digits, exponent. */
function decimalOf(token: string): string {
  const [, sign, whole = '', fraction = '', exponent = '0'] = parts.exec(token) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const shift = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${shift}`;
}
