import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sql } from 'drizzle-orm';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { describeOnEachEngine } from '../../testing/database.ts';
import { recordingTracer } from '../../testing/tracer.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { retryTransaction } from './retry-transaction.ts';
import { summaryOf } from './traced-statements.ts';

const numbers = pgTable('numbers', { n: integer().primaryKey(), name: text() });

/** Runs work in a recorded request and returns the spans of the work. */
async function recorded<T>(work: () => Promise<T>) {
  const { tracer, spans } = recordingTracer();
  const span = tracer.start('request', { name: 'POST /numbers' });
  assert.ok(span);
  const context = {
    correlationId: 'abc',
    deadline: Deadline.after(10_000),
    traceparent: span.traceparent,
    span,
  };
  await runInContext(context, work);
  const [request, ...children] = spans;
  return { request, children };
}

describeOnEachEngine('spans of the database', {}, (open) => {
  it('are one per statement, inside that of the transaction, without values', async () => {
    const database = await open();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int primary key, name text)`));
    const { request, children } = await recorded(async () => {
      await database.transaction(async (tx) => {
        await tx.insert(numbers).values({ n: 987654321, name: 'secret' });
        await tx.execute(sql`update numbers set n = ${987654322} where name = ${'secret'}`);
      });
      const rows = await database.query((db) => db.select().from(numbers));
      assert.deepEqual(rows, [{ n: 987654322, name: 'secret' }]);
    });
    const [transaction, ...statements] = children;
    assert.deepEqual([transaction?.key, transaction?.parent], ['transaction', request?.traceparent]);
    const named = statements.filter(({ name }) => name !== 'SELECT');
    assert.deepEqual(
      named.map(({ key, name, parent, attributes }) => [key, name, parent, attributes['db.operation.name']]),
      [
        ['statement', 'INSERT numbers', transaction?.traceparent, 'INSERT'],
        ['statement', 'UPDATE numbers', transaction?.traceparent, 'UPDATE'],
        ['statement', 'SELECT numbers', request?.traceparent, 'SELECT'],
      ],
    );
    assert.ok(children.every(({ ended }) => ended));
    assert.doesNotMatch(JSON.stringify(children), /secret|98765/);
  });

  it('have the SQLSTATE of a failed statement, but not its message', async () => {
    const database = await open();
    await database.transaction((tx) => tx.execute(sql`create table numbers (n int primary key, name text)`));
    const { children } = await recorded(async () => {
      const twice = database.transaction(async (tx) => {
        for (let time = 0; time < 2; time += 1)
          await tx.insert(numbers).values({ n: 987654321, name: 'secret' });
      });
      await assert.rejects(twice);
    });
    const failed = children.filter((span) => span.failed);
    assert.deepEqual(
      failed.map(({ key, attributes }) => [key, attributes['error.type']]),
      [
        ['transaction', '23505'],
        ['statement', '23505'],
      ],
    );
    assert.equal(failed[1]?.attributes['db.response.status_code'], '23505');
    assert.doesNotMatch(JSON.stringify(children), /secret|987654321/);
  });

  it('are not recorded outside of a recorded request', async () => {
    const database = await open();
    const { children } = await recorded(() =>
      runInContext({ correlationId: 'other', deadline: Deadline.after(1000) }, () =>
        database.query((db) => db.execute(sql`select 1`)),
      ),
    );
    assert.deepEqual(children, []);
  });
});

it('retryTransaction reports each retry', async () => {
  const failures: [number, unknown][] = [];
  let attempts = 0;
  const result = await retryTransaction(
    async () => {
      attempts += 1;
      if (attempts < 3) throw Object.assign(new Error('deadlock'), { code: '40P01' });
      return 'done';
    },
    (attempt, error) => failures.push([attempt, (error as { code?: string }).code]),
  );
  assert.equal(result, 'done');
  assert.deepEqual(failures, [
    [1, '40P01'],
    [2, '40P01'],
  ]);
});

describe('summary of a statement', () => {
  for (const [statement, summary] of [
    ['select "id", "name" from "users" where "users"."id" = $1', 'SELECT users'],
    ['insert into outbox (id, type) values ($1, $2)', 'INSERT outbox'],
    ["update orders set note = 'delete from users' where id = 1", 'UPDATE orders'],
    ['delete from sessions where id = $1', 'DELETE sessions'],
    ['select a from orders join users on true', 'SELECT orders users'],
    [
      'with due as (select position from outbox for update) update outbox set n = 1 from due',
      'SELECT outbox UPDATE outbox',
    ],
    ['insert into t (n) values (1) on conflict (n) do update set n = excluded.n', 'INSERT t'],
    ['select pg_advisory_lock($1)', 'SELECT'],
    ['lock table users', 'LOCK'],
    [
      'with known as (select id from users where id = $1 for share), placed as (insert into orders (id) select id from known returning *), counted as (insert into counters select 1 from placed) select * from placed, counted',
      'SELECT users INSERT orders INSERT counters',
    ],
    ['insert into outbox (id) select id from unnest($1::uuid[]) as event (id)', 'INSERT outbox'],
  ] as const)
    it(`of "${statement}" is ${summary}`, () => assert.equal(summaryOf(statement), summary));

  it('has at most 255 characters', () => {
    assert.equal(summaryOf('select x from some_table '.repeat(100)).length, 255);
  });
});
