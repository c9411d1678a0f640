import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { directivesOf, lifetimeOf, varyOf } from './freshness.ts';

const settings = { ttlMs: 10_000, staleWhileRevalidateMs: 2000, staleIfErrorMs: 300_000 };

function lifetime(headers: Readonly<Record<string, string>>, known = true): unknown {
  const found = lifetimeOf(Object.entries(headers).flat(), settings, known);
  return found && [found.freshMs, found.revalidateMs, found.errorMs].map((ms) => ms / 1000);
}

describe('how long an answer may be kept', () => {
  it('is what the table says where the service says nothing, and never more than five minutes', () => {
    assert.deepEqual(lifetime({}), [10, 12, 300]);
  });

  it('is what the service says where that is less', () => {
    for (const [control, expected] of [
      ['max-age=3', [3, 5, 300]],
      ['max-age=60', [10, 12, 300]],
      ['MAX-AGE = "3"', [3, 5, 300]],
      ['max-age=3, s-maxage=5', [5, 5, 5]],
      ['max-age=3, must-revalidate', [3, 3, 3]],
      ['max-age=3, stale-while-revalidate=1, stale-if-error=4', [3, 4, 7]],
      ['max-age=0, stale-if-error=60', [0, 2, 60]],
      ['max-age=soon', [0, 2, 300]],
      ['public, immutable', [10, 12, 300]],
      ['private', [10, 12, 300]],
    ] as const)
      assert.deepEqual(lifetime({ 'Cache-Control': control }), expected, control);
    const now = 'Thu, 26 Nov 2026 12:00:00 GMT';
    assert.deepEqual(lifetime({ Date: now, Expires: 'Thu, 26 Nov 2026 12:00:04 GMT' }), [4, 6, 300]);
    assert.deepEqual(lifetime({ Date: now, Expires: '0' }), [0, 2, 300]);
    assert.deepEqual(lifetime({ 'Cache-Control': 'max-age=9', Age: '5' }), [4, 6, 300]);
  });

  it('is not at all where the service forbids it, or it is not for somebody alone', () => {
    for (const headers of [
      { 'Cache-Control': 'no-store' },
      { 'Cache-Control': 'private, no-cache' },
      { 'Cache-Control': 'No-Cache="x"' },
      { Vary: 'Accept, *' },
      { 'Set-Cookie': 'a=b' },
    ])
      assert.equal(lifetime(headers), undefined, JSON.stringify(headers));
    assert.equal(lifetime({ 'Cache-Control': 'private' }, false), undefined);
  });
});

it('names that an answer varies by are one list, whatever their order and spelling', () => {
  assert.deepEqual(varyOf(['Vary', 'Origin , accept', 'vary', 'Accept-Encoding']), [
    'accept',
    'accept-encoding',
    'origin',
  ]);
  assert.deepEqual(
    [...directivesOf('a, b=1,b=2, ')],
    [
      ['a', ''],
      ['b', '1'],
    ],
  );
});
