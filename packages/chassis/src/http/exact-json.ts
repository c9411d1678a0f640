import { Failure } from '../failure.ts';

/** Matches strings and numbers in valid JSON. Strings are matched in order to skip them. */
const stringOrNumberPattern = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g;

/** Number of decimal digits that a double always preserves (DBL_DIG in C). */
const safeDigits = 15;

/**
 * Parses JSON and rejects numbers that a double cannot represent exactly, so that no number changes silently (RFC 8259, section 6;
 * RFC 7493, section 2.2). Numbers with up to 15 digits in the range of a double are always accepted.
 * @throws Failure `invalid-request` if the text is not JSON or a number is not exact
 */
export function parseExactJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure('invalid-request', { detail: 'The body is not valid JSON.' });
  }
  for (const [token] of text.matchAll(stringOrNumberPattern)) {
    if (token.startsWith('"') || isExact(token)) continue;
    throw new Failure('invalid-request', {
      detail: 'A number in the body exceeds the range or precision of a double.',
    });
  }
  return value;
}

function isExact(token: string): boolean {
  // Fast path: few digits and no exponent.
  if (token.length <= safeDigits && !/e/i.test(token)) return true;
  const value = Number(token);
  return Number.isFinite(value) && normalizeDecimal(token) === normalizeDecimal(String(value));
}

const decimalPattern = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i;

/** Returns a decimal number in normal form (sign, digits, exponent), so that equal numbers have equal text. */
function normalizeDecimal(token: string): string {
  const [, sign, whole = '', fraction = '', exponent = '0'] = decimalPattern.exec(token) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const shift = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${shift}`;
}
