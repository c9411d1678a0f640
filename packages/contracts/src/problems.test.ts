import assert from 'node:assert/strict';
import { it } from 'node:test';
import { isServiceFailure, problemCodes, problemTypes } from './problems.ts';

it('counts every 5xx as a service failure except the types that affect one kind of request', () => {
  const excepted = problemCodes.filter(
    (code) => problemTypes[code].status >= 500 && !isServiceFailure(problemTypes[code].status, code),
  );
  assert.deepEqual(excepted.toSorted(), [
    'dependency-unavailable',
    'identity-unavailable',
    'login-overloaded',
  ]);
});

it('counts a 5xx of an unknown type as a service failure, and no 4xx', () => {
  for (const code of [undefined, '', 'busy', 'toString', '__proto__', 'login-overloaded '])
    assert.equal(isServiceFailure(503, code), true, String(code));
  for (const code of problemCodes.filter((code) => problemTypes[code].status < 500))
    assert.equal(isServiceFailure(problemTypes[code].status, code), false, code);
});
