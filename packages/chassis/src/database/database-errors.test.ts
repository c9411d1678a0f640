import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '../failure.ts';
import { toFailure } from './database-errors.ts';

/** Creates an error of pg as wrapped by drizzle. */
function drizzleError(code: string): Error {
  return new Error('Failed query: select 1', { cause: Object.assign(new Error(code), { code }) });
}

describe('toFailure', () => {
  it('returns database-unavailable for connection errors and for a server that is starting, shutting down or out of disk space', () => {
    for (const code of [
      'ECONNREFUSED',
      'ECONNRESET',
      'ETIMEDOUT',
      'ENOTFOUND',
      'EAI_AGAIN',
      'EHOSTUNREACH',
      'ENETUNREACH',
      'EHOSTDOWN',
      'ENETDOWN',
      '08006',
      '53100',
      '57P01',
      '57P03',
    ]) {
      const failure = toFailure(drizzleError(code));
      assert.ok(failure instanceof Failure, code);
      assert.deepEqual([failure.code, failure.retryAfterSeconds], ['database-unavailable', 1], code);
    }
  });

  it('returns errors of the query unchanged', () => {
    for (const code of ['42601', '23505', 'ERR_INVALID_ARG_TYPE'])
      assert.equal(toFailure(drizzleError(code)) instanceof Failure, false, code);
  });
});
