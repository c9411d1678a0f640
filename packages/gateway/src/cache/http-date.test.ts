import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseHttpDate } from './http-date.ts';

it('parses the three formats of HTTP-date in either case (RFC 9110, section 5.6.7)', () => {
  for (const [text, iso] of [
    ['Sun, 06 Nov 1994 08:49:37 GMT', '1994-11-06T08:49:37.000Z'],
    ['Sunday, 06-Nov-94 08:49:37 GMT', '1994-11-06T08:49:37.000Z'],
    ['Sun Nov  6 08:49:37 1994', '1994-11-06T08:49:37.000Z'],
    ['THU, 18 AUG 2050 02:01:18 gmt', '2050-08-18T02:01:18.000Z'],
    ['Thursday, 18-Aug-50 02:01:18 GMT', '2050-08-18T02:01:18.000Z'],
    ['Sat, 31 Dec 2016 23:59:60 GMT', '2017-01-01T00:00:00.000Z'],
    ['Mon, 01 Jan 0001 00:00:00 GMT', '0001-01-01T00:00:00.000Z'],
  ] as const)
    assert.equal(parseHttpDate(text), Date.parse(iso), text);
});

it('rejects any other format', () => {
  for (const text of [
    ...['', '0', '-1', 'never', '1994-11-06T08:49:37Z', '784111777', 'Sun, 06 Nov 1994 08:49:37'],
    ...['Thu, 18 Aug 2050 02:01:18 UTC', 'Thu, 18 Aug 2050 02:01:18 AEST', 'Thu, 18 Aug 2050 02:01:18 +0000'],
    ...['Thu 18 Aug 2050 02:01:18 GMT', 'Thu, 18  Aug  2050 02:01:18 GMT', 'Thu, 18-Aug-2050 02:01:18 GMT'],
    ...['Thu, 18 Aug 50 02:01:18 GMT', 'Thu, 18 Aug 2050 2:01:18 GMT', 'Thu, 18 Aug 2050 02.01.18 GMT'],
    ...['Thu, 30 Feb 2050 02:01:18 GMT', 'Thu, 00 Aug 2050 02:01:18 GMT', 'Thu, 18 Aug 2050 24:00:00 GMT'],
    ...['Thu, 18 Aug 2050 02:60:18 GMT', 'Thu, 18 Foo 2050 02:01:18 GMT', 'Thu, 18 Aug 2050 02:01:18 GMT, x'],
  ])
    assert.equal(parseHttpDate(text), undefined, text);
});
