import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { awaitOutcomes, countDeadlocks, describeOnEachEngine } from './database.ts';
import { createGate } from './observed.ts';

describeOnEachEngine('countDeadlocks', { engines: ['postgres'] }, (openDatabase) => {
  it('counts a deadlock although the transaction is retried and succeeds', async () => {
    const database = await openDatabase();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int)`));
    await database.transaction((tx) => tx.execute(sql`insert into numbers values (1), (2)`));
    const counting = countDeadlocks(database);
    const [first, second] = [createGate(), createGate()];
    const lock = (own: number, gate: typeof first, other: number, otherGate: typeof first) =>
      counting.database.transaction(async (tx) => {
        await tx.execute(sql`select 1 from numbers where n = ${own} for update`);
        gate.open();
        await otherGate.pass();
        await tx.execute(sql`select 1 from numbers where n = ${other} for update`);
      });
    assert.equal(counting.deadlocks, 0);
    await Promise.all([lock(1, first, 2, second), lock(2, second, 1, first)]);
    assert.ok(counting.deadlocks >= 1);
  });
});

describe('awaitOutcomes', () => {
  const expected = (error: unknown) => assert.match(String(error), /expected/);
  const failed = (message: string) => Promise.reject(new Error(message));

  it('accepts expected failures if one operation of the kind succeeds', async () => {
    await awaitOutcomes(
      [
        ['update', failed('expected')],
        ['update', Promise.resolve()],
        ['delete', Promise.resolve()],
      ],
      expected,
    );
  });

  it('throws if all operations of a kind fail, and for any other error', async () => {
    const updated = ['update', Promise.resolve()] as const;
    await assert.rejects(
      awaitOutcomes([updated, ['delete', failed('expected')]], expected),
      /every delete failed/,
    );
    await assert.rejects(awaitOutcomes([updated, ['update', failed('other')]], expected), /other/);
  });
});
