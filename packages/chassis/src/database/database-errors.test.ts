import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '../failure.ts';
import { asFailure } from './database-errors.ts';

/** As drizzle hands on what pg throws. */
function thrown(code: string): Error {
  return new Error('Failed query: select 1', { cause: Object.assign(new Error(code), { code }) });
}

describe('an error of the database', () => {
  it('is told as a database that is away when nothing can be reached there, or it cannot do its work just now', () => {
    for (const code of [
      ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'],
      ...['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'],
      ...['08006', '53100', '57P01', '57P03'],
    ]) {
      const failure = asFailure(thrown(code));
      assert.ok(failure instanceof Failure, code);
      assert.deepEqual([failure.code, failure.headers['Retry-After']], ['database-unavailable', '1'], code);
    }
  });

  it('stays as it is when it is the fault of the query', () => {
    for (const code of ['42601', '23505', 'ERR_INVALID_ARG_TYPE'])
      assert.equal(asFailure(thrown(code)) instanceof Failure, false, code);
  });
});
