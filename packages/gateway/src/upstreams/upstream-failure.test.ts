import assert from 'node:assert/strict';
import { it } from 'node:test';
import { toFailure } from './upstream-failure.ts';

it('returns the Retry-After of an upstream in seconds, whether it is a number or a date', () => {
  const secondsOf = (retryAfter: unknown): number | undefined =>
    toFailure({ response: { status: 429, headers: { 'retry-after': retryAfter }, data: '' } }, [429])
      .retryAfterSeconds;
  assert.equal(secondsOf('17'), 17);
  const soon = secondsOf(new Date(Date.now() + 20_000).toUTCString()) ?? 0;
  assert.ok(soon >= 18 && soon <= 20, String(soon));
  assert.equal(secondsOf('Sun, 06 Nov 1994 08:49:37 GMT'), 0);
  for (const text of ['1.5', '-1', 'soon', '', undefined]) assert.equal(secondsOf(text), undefined);
});
