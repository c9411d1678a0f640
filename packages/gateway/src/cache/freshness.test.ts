import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { directivesOf, targetedDirectivesOf } from './cache-control.ts';
import { type CacheSettings, initialAgeOf, lifetimeOf, varyOf } from './freshness.ts';

const settings: CacheSettings = { ttlMs: 10_000, staleWhileRevalidateMs: 2000, staleIfErrorMs: 300_000 };
const ttlOnly: CacheSettings = { ...settings, staleWhileRevalidateMs: undefined, staleIfErrorMs: undefined };

type Headers = Readonly<Record<string, string>>;

/** Returns seconds until the end of freshness, stale-while-revalidate and stale-if-error. */
function lifetime(headers: Headers, { hasOwner = true, status = 200, cacheSettings = settings } = {}) {
  const result = lifetimeOf({ status, headers: Object.entries(headers).flat() }, cacheSettings, hasOwner);
  return result && [result.freshMs, result.revalidateMs, result.errorMs].map((ms) => Math.round(ms / 1000));
}

/** Returns the HTTP-date `seconds` from now. */
function date(seconds = 0): string {
  return new Date(Date.now() + seconds * 1000).toUTCString();
}

describe('lifetime of a cached response', () => {
  it('is the configured one without directives, and at most five minutes', () => {
    assert.deepEqual(lifetime({}), [10, 12, 300]);
    assert.deepEqual(lifetime({}, { cacheSettings: ttlOnly }), [10, 10, 10]);
  });

  it('is shortened by the directives of the service', () => {
    for (const [control, expected] of [
      ['max-age=3', [3, 3, 300]],
      ['max-age=11', [10, 11, 300]],
      ['max-age=60', [10, 12, 300]],
      ['max-age=99999999999', [10, 12, 300]],
      ['MAX-AGE = "3"', [3, 3, 300]],
      ['max-age=3, s-maxage=5', [5, 5, 5]],
      ['max-age=3, must-revalidate', [3, 3, 3]],
      ['max-age=3, proxy-revalidate', [3, 3, 3]],
      ['max-age=3, stale-while-revalidate=1, stale-if-error=4', [3, 4, 7]],
      ['max-age=3, stale-while-revalidate=60', [3, 5, 300]],
      ['public, immutable', [10, 12, 300]],
      ['private', [10, 12, 300]],
      ['no-store, must-understand, max-age=3', [3, 3, 300]],
    ] as const)
      assert.deepEqual(lifetime({ 'Cache-Control': control }), expected, control);
    assert.deepEqual(lifetime({ Date: date(), Expires: date(4) }), [4, 4, 300]);
    assert.deepEqual(lifetime({ 'Cache-Control': 'max-age=9', Age: '5' }), [4, 4, 300]);
  });

  it('ignores the configured stale times if every use needs revalidation (RFC 9111, section 4.2.4)', () => {
    const etag = { ETag: '"1"' };
    for (const headers of [
      { 'Cache-Control': 'no-cache' },
      { 'Cache-Control': 'no-cache="set-cookie, x"' },
      { 'Cache-Control': 'max-age=60, no-cache, stale-while-revalidate=60' },
      { 'Cache-Control': 'max-age=0' },
      { 'Cache-Control': 's-maxage=0' },
      { 'Cache-Control': 's-maxage=0, stale-if-error=60' },
      { 'Cache-Control': 'max-age=soon' },
      { 'Cache-Control': 'max-age=3', Age: '7200' },
      { 'Cache-Control': 'max-age=5', Date: date(-60) },
      { Date: date(), Expires: '0' },
      { Date: date(), Expires: 'Thu, 18 Aug 2050 02:01:18 UTC' },
      { 'CDN-Cache-Control': 'max-age=0' },
      { 'CDN-Cache-Control': 'no-cache', 'Cache-Control': 'max-age=60' },
    ]) {
      assert.deepEqual(lifetime({ ...headers, ...etag }), [0, 0, 0], JSON.stringify(headers));
      assert.equal(lifetime(headers), undefined, 'without a validator');
    }
    assert.deepEqual(lifetime({ 'Cache-Control': 'max-age=0, stale-if-error=60' }), [0, 0, 60]);
    assert.deepEqual(
      lifetime({ 'Cache-Control': 'max-age=0, stale-while-revalidate=9' }, { cacheSettings: ttlOnly }),
      [0, 9, 0],
    );
    assert.deepEqual(
      lifetime({ 'Cache-Control': 'max-age=3, stale-if-error=4' }, { cacheSettings: ttlOnly }),
      [3, 3, 7],
    );
  });

  it('is undefined if the service forbids caching, or for a private response without an owner', () => {
    for (const headers of [
      { 'Cache-Control': 'no-store' },
      { 'Cache-Control': 'private, no-cache' },
      { 'Cache-Control': 'No-Cache="x"' },
      { Vary: 'Accept, *' },
      { 'Set-Cookie': 'a=b' },
      { 'Set-Cookie': 'a=b', 'CDN-Cache-Control': 'max-age=60' },
      { 'CDN-Cache-Control': 'no-store', 'Cache-Control': 'max-age=60' },
    ])
      assert.equal(lifetime(headers as Headers), undefined, JSON.stringify(headers));
    for (const name of ['Cache-Control', 'CDN-Cache-Control'])
      assert.equal(lifetime({ [name]: 'private' }, { hasOwner: false }), undefined);
  });

  it('of statuses other than 200 requires an explicit lifetime or Last-Modified (RFC 9110, section 15.1)', () => {
    const changed = { 'Last-Modified': date(-50), Date: date() };
    for (const status of [203, 204, 300, 301, 308, 404, 405, 410, 414, 501]) {
      assert.equal(lifetime({}, { status }), undefined, `${status}`);
      assert.deepEqual(lifetime(changed, { status, cacheSettings: ttlOnly }), [5, 5, 5], `${status}`);
    }
    for (const status of [201, 202, 302, 307, 400, 401, 403, 500, 502, 503, 504, 599]) {
      assert.equal(lifetime(changed, { status }), undefined, `${status}`);
      assert.deepEqual(lifetime({ 'Cache-Control': 'max-age=3' }, { status }), [3, 3, 300], `${status}`);
    }
    for (const status of [206, 304, 412, 416, 428, 429, 431, 511])
      assert.equal(lifetime({ 'Cache-Control': 'max-age=3' }, { status }), undefined, `${status}`);
    const unknown = { 'Cache-Control': 'max-age=3, no-store, must-understand' };
    assert.equal(lifetime(unknown, { status: 599 }), undefined, 'RFC 9111, section 5.2.2.3');
  });

  it('follows CDN-Cache-Control instead of Cache-Control and Expires (RFC 9213)', () => {
    for (const [cdn, control, expected] of [
      ['max-age=3', 'max-age=60', [3, 3, 300]],
      ['max-age=60', 'no-store', [10, 12, 300]],
      ['max-age=60', 'max-age=1', [10, 12, 300]],
      ['foobar, max-age=3', '', [3, 3, 300]],
      ['max-age=3;x=1, must-revalidate', '', [3, 3, 3]],
      ['max-age=60, max-age=3', '', [3, 3, 300]],
    ] as const)
      assert.deepEqual(
        lifetime({ 'CDN-Cache-Control': cdn, 'Cache-Control': control, Expires: date(-1) }),
        expected,
        cdn,
      );
  });
});

it('ignores an invalid CDN-Cache-Control (RFC 9213, section 2.1)', () => {
  for (const text of [
    ...['', ' ', ',', 'max-age=3,', ',max-age=3', 'max-age=3 max-age=4', 'max-age=3, &&&&&', 'MAX-AGE=3'],
    ...['max-age =3', 'max-age= 3', 'max-age="3"', 'max-age=3.5', 'max-age=-3', 'max-age', 'max-age=(3)'],
    ...['private="x', 'max-age=9999999999999999', 'max-age=3;', '1=2', 'max-age=?1', 'a=:', 'max-age=3;x =1'],
  ])
    assert.equal(targetedDirectivesOf(['cdn-cache-control', text]), undefined, text);
  assert.deepEqual(
    [
      ...(targetedDirectivesOf([
        'CDN-Cache-Control',
        'a="x, y";b, c=?0\t,\td=:YQ==:',
        'CDN-Cache-Control',
        'max-age=3',
      ]) ?? []),
    ],
    [
      ['a', '"x, y"'],
      ['c', '?0'],
      ['d', ':YQ==:'],
      ['max-age', '3'],
    ],
  );
});

it('computes the initial age from the first Age and from Date (RFC 9111, sections 4.2.3 and 5.1)', () => {
  for (const [age, seconds] of [
    ['7200', 7200],
    ['7200, 0', 7200],
    ['0, 7200', 0],
    [' 5 ,6', 5],
    ['99999999999', 2 ** 31],
    ...['', 'abc', '-7200', '7200.0', '7200;foo=bar', '+5', '1e3', ', 5', '0x10'].map(
      (text) => [text, 0] as const,
    ),
  ] as const)
    assert.equal(initialAgeOf(['Age', age]), seconds * 1000, age);
  assert.equal(initialAgeOf(['Age', '7', 'Age', '9']), 7000);
  assert.equal(initialAgeOf(['Age', '7', 'Date', date()]), 7000);
  const fromDate = initialAgeOf(['Age', '7', 'Date', date(-100)]);
  assert.ok(fromDate >= 98_000 && fromDate <= 101_000, `${fromDate}`);
  assert.equal(initialAgeOf(['Date', date(100)]), 0, 'a Date in the future counts as age 0');
});

it('normalizes the names in Vary and parses directives', () => {
  assert.deepEqual(varyOf(['Vary', 'Origin , accept', 'vary', 'Accept-Encoding']), [
    'accept',
    'accept-encoding',
    'origin',
  ]);
  assert.deepEqual(
    [...directivesOf('a, b=1,b=2, c="x, max-age=1, \\", y", max-age=2, d="z')],
    [
      ['a', ''],
      ['b', '1'],
      ['c', 'x, max-age=1, \\", y'],
      ['max-age', '2'],
      ['d', '"z'],
    ],
  );
});
