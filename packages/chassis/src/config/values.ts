import { z } from 'zod';
import { type AddressRange, createAddressRanges, parseAddressRange } from '../http/addresses.ts';

/** A whole number from `min` to `max`. */
function integer(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
}

/** A TCP port; 0 selects a free port. */
export function port() {
  return integer(0, 65_535);
}

/** A duration in whole milliseconds, up to one day. */
export function milliseconds(min = 0) {
  return integer(min, 86_400_000);
}

/** A count from `min` to `max`. */
export function count(min = 0, max = 1_000_000) {
  return integer(min, max);
}

/** A percentage from 1 to 100. */
export function percentage() {
  return integer(1, 100);
}

/** `true` or `false`. Other spellings such as `True` or `yes` are errors, so that they do not silently mean false. */
export function flag() {
  return z.enum(['true', 'false'], { error: 'must be true or false' }).transform((value) => value === 'true');
}

/** A secret of at least 32 characters. */
export function secret() {
  return z.string().min(32, 'must have at least 32 characters');
}

/** Base URL of an HTTP service, without a query or credentials. */
export function httpUrl() {
  return z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).refine((value) => {
    const url = new URL(value);
    return url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  }, 'must have no query, fragment or credentials');
}

/** A comma-separated list of addresses and ranges (CIDR). */
export function addressRanges() {
  return z.string().transform((text, context) => {
    const ranges: AddressRange[] = [];
    for (const part of text.split(',').map((entry) => entry.trim())) {
      const range = parseAddressRange(part);
      if (range === undefined) {
        context.addIssue(
          `must be a comma-separated list of addresses or ranges such as 10.0.0.0/8; ${part} is not valid`,
        );
        return z.NEVER;
      }
      ranges.push(range);
    }
    return createAddressRanges(ranges);
  });
}
