import assert from 'node:assert/strict';
import { it } from 'node:test';
import { silentLogger } from '../../testing/observed.ts';
import { Failure } from '../failure.ts';
import type { Database } from './database.ts';
import { observeDatabase } from './observed-database.ts';
import { Rollback } from './rollback.ts';

it('records the duration and outcome of each operation', async () => {
  const recorded: string[] = [];
  const run = (work: (db: never) => Promise<unknown>) => work(undefined as never);
  const database = observeDatabase(
    { engine: 'pglite', query: run, transaction: run } as unknown as Database,
    {
      databaseOperation(operation, outcome, seconds) {
        assert.ok(seconds >= 0 && seconds < 10);
        recorded.push(`${operation} ${outcome}`);
      },
    },
    silentLogger(),
  );
  assert.equal(await database.query(async () => 'rows'), 'rows');
  const fail = (error: Error) =>
    assert.rejects(
      database.transaction(() => Promise.reject(error)),
      error,
    );
  await fail(new Failure('database-unavailable', { retryAfterSeconds: 1 }));
  await fail(new Error('syntax error'));
  await fail(new Failure('internal-error'));
  // The service's own result of a transaction.
  await fail(new Failure('not-found'));
  await fail(new Rollback());
  assert.deepEqual(recorded, [
    'query succeeded',
    'transaction unavailable',
    'transaction failed',
    'transaction failed',
    'transaction succeeded',
    'transaction succeeded',
  ]);
});
