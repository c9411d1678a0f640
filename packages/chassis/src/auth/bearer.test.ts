import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bearerTokenOf } from './bearer.ts';

it('the token of an Authorization header is read, and anything else is refused', () => {
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
