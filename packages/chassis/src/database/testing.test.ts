import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { createGate } from '../testing.ts';
import { countDeadlocks, describeOnEachEngine, settle } from './testing.ts';

describeOnEachEngine('countDeadlocks', { engines: ['postgres'] }, (open) => {
  it('counts a deadlock although the write is repeated and succeeds', async () => {
    const database = await open();
    await database.write((tx) => tx.execute(sql`create table numbers (n int)`));
    await database.write((tx) => tx.execute(sql`insert into numbers values (1), (2)`));
    const counting = countDeadlocks(database);
    const [first, second] = [createGate(), createGate()];
    const lock = (own: number, gate: typeof first, other: number, otherGate: typeof first) =>
      counting.database.write(async (tx) => {
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

describe('settle', () => {
  const expected = (error: unknown) => assert.match(String(error), /expected/);
  const failed = (message: string) => Promise.reject(new Error(message));

  it('takes expected failures of a kind of which some work succeeded', async () => {
    await settle(
      [
        ['update', failed('expected')],
        ['update', Promise.resolve()],
        ['delete', Promise.resolve()],
      ],
      expected,
    );
  });

  it('throws when no work of a kind succeeded, and for any other error', async () => {
    const updated = ['update', Promise.resolve()] as const;
    await assert.rejects(settle([updated, ['delete', failed('expected')]], expected), /every delete failed/);
    await assert.rejects(settle([updated, ['update', failed('other')]], expected), /other/);
  });
});
