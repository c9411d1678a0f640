const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

const time = String.raw`(\d\d):(\d\d):(\d\d)`;
const month = `(${months.join('|')})`;

/** The three formats of HTTP-date that a recipient must accept (RFC 9110, section 5.6.7). The last two are obsolete. */
const imfFixdate = new RegExp(String.raw`^[a-z]{3}, (\d\d) ${month} (\d{4}) ${time} GMT$`, 'i');
const rfc850Date = new RegExp(String.raw`^[a-z]{6,9}, (\d\d)-${month}-(\d\d) ${time} GMT$`, 'i');
const asctimeDate = new RegExp(String.raw`^[a-z]{3} ${month} ([ \d]\d) ${time} (\d{4})$`, 'i');

/**
 * Parses an HTTP-date to milliseconds since the epoch; undefined for any other text. `Date.parse` accepts far more formats. Letters match
 * in either case, as RFC 9111, section 4.2, recommends for caches.
 */
export function parseHttpDate(text: string): number | undefined {
  const current = imfFixdate.exec(text);
  if (current !== null) {
    const [, day = '', name = '', year = '', ...clock] = current;
    return toTimestamp(Number(year), name, Number(day), clock);
  }
  const dashed = rfc850Date.exec(text);
  if (dashed !== null) {
    const [, day = '', name = '', digits = '', ...clock] = dashed;
    return toTimestamp(fullYear(Number(digits)), name, Number(day), clock);
  }
  const unix = asctimeDate.exec(text);
  if (unix === null) return undefined;
  const [, name = '', day = '', hours = '', minutes = '', seconds = '', year = ''] = unix;
  return toTimestamp(Number(year), name, Number(day), [hours, minutes, seconds]);
}

/** Expands a two-digit year. A result more than 50 years in the future means the previous century (RFC 9110, section 5.6.7). */
function fullYear(digits: number): number {
  const now = new Date().getUTCFullYear();
  const year = now - (now % 100) + digits;
  return year > now + 50 ? year - 100 : year;
}

/** Returns undefined for an invalid date or time; a leap second becomes the next second. */
function toTimestamp(year: number, name: string, day: number, clock: readonly string[]): number | undefined {
  const [hours = 0, minutes = 0, seconds = 0] = clock.map(Number);
  if (hours > 23 || minutes > 59 || seconds > 60) return undefined;
  const midnight = new Date(0);
  midnight.setUTCFullYear(year, months.indexOf(name.toLowerCase()), day);
  if (midnight.getUTCDate() !== day) return undefined;
  return midnight.getTime() + ((hours * 60 + minutes) * 60 + seconds) * 1000;
}
