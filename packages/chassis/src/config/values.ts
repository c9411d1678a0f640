import { z } from 'zod';
import { type AddressRange, createAddressRanges, parseAddressRange } from '../http/addresses.ts';

/** A whole number written in an environment variable, within bounds. */
function integer(min: number, max: number) {
  const sentence = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, sentence)
    .transform(Number)
    .refine((value) => value >= min && value <= max, sentence);
}

/** A TCP port; 0 lets the system choose a free one. */
export function port() {
  return integer(0, 65_535);
}

/** A span of time in whole milliseconds, up to a day. */
export function milliseconds(min = 0) {
  return integer(min, 86_400_000);
}

/** A number of things, `min` or more. */
export function count(min = 0, max = 1_000_000) {
  return integer(min, max);
}

/** A share of a hundred. */
export function percentage() {
  return integer(1, 100);
}

/** `true` or `false`, and nothing else: a misspelt `True` or `yes` must not silently mean no. */
export function flag() {
  return z.enum(['true', 'false'], { error: 'must be true or false' }).transform((value) => value === 'true');
}

/** Base URL of an HTTP service, without a query or credentials. */
export function httpUrl() {
  return z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).refine((value) => {
    const url = new URL(value);
    return url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  }, 'must have no query, fragment or credentials');
}

/** Addresses and ranges of addresses (CIDR), joined by commas. */
export function addressRanges() {
  return z.string().transform((text, context) => {
    const ranges: AddressRange[] = [];
    for (const part of text.split(',').map((entry) => entry.trim())) {
      const range = parseAddressRange(part);
      if (range === undefined) {
        context.addIssue(`must be addresses or ranges such as 10.0.0.0/8, joined by commas; ${part} is none`);
        return z.NEVER;
      }
      ranges.push(range);
    }
    return createAddressRanges(ranges);
  });
}
