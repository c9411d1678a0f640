import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bearerTokenOf } from './bearer.ts';

it('returns the token of a bearer header and rejects anything else', () => {
  assert.equal(bearerTokenOf(undefined), undefined);
  for (const header of ['Bearer a.b-c_d~e+f/g==', 'bearer a.b-c_d~e+f/g==', 'BEARER  a.b-c_d~e+f/g== '])
    assert.equal(bearerTokenOf(header), 'a.b-c_d~e+f/g==');
  for (const header of [
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Bearer a b',
    'Bearer a, Bearer b',
    'a.b.c',
    `Bearer ${'a'.repeat(9000)}`,
  ])
    assert.throws(() => bearerTokenOf(header), { code: 'unauthenticated' }, header.slice(0, 30));
});

it('rejects a token over the size limit with its own detail', () => {
  for (const length of [8193, 9000, 15_000])
    assert.throws(
      () => bearerTokenOf(`Bearer ${'a'.repeat(length)}`),
      ({ detail, challenge }) =>
        /longer than 8192 characters/.test(detail) && /invalid_token/.test(challenge),
    );
  assert.equal(bearerTokenOf(`Bearer ${'a'.repeat(8192)}`)?.length, 8192);
});

it('rejects another scheme with a challenge that has no error code (RFC 6750, section 3.1)', () => {
  for (const header of [
    'Basic YTpi',
    'Digest username="a"',
    'Negotiate abc',
    '',
    'a.b.c',
    'BearerX a',
    'Token a',
  ])
    assert.throws(
      () => bearerTokenOf(header),
      ({ code, challenge }) => code === 'unauthenticated' && challenge === 'Bearer realm="zerda"',
      header,
    );
});
