import assert from 'node:assert/strict';
import { sql } from 'drizzle-orm';
import { type ConstraintFailures, mapConstraints } from '../src/database/constraints.ts';
import type { Database } from '../src/database/database.ts';
import { rowsOf } from '../src/database/rows-of.ts';
import { Failure } from '../src/failure.ts';

/** Returns the names and SQLSTATEs of all constraints and unique indexes in the catalog. */
async function readConstraints(database: Database): Promise<Map<string, string>> {
  const rows = await database.query((db) =>
    rowsOf<{ name: string; kind: string }>(
      db,
      sql`select conname as name, contype::text as kind from pg_constraint
          where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'p', 'u', 'x')
        union
        select c.relname, 'u' from pg_index i join pg_class c on c.oid = i.indexrelid
          where i.indisunique and c.relnamespace = 'public'::regnamespace`,
    ),
  );
  const codes: Record<string, string> = { c: '23514', f: '23503', p: '23505', u: '23505', x: '23P01' };
  return new Map(rows.map(({ name, kind }) => [name, codes[kind] ?? '']));
}

/** Asserts that a service maps exactly the constraints of its schema to failures, and that callers get these failures. */
export async function assertConstraintsMapped(
  database: Database,
  failures: ConstraintFailures,
): Promise<void> {
  const constraints = await readConstraints(database);
  assert.ok(constraints.size > 5);
  assert.deepEqual([...constraints.keys()].sort(), Object.keys(failures).sort());
  const mapped = mapConstraints(database, failures);
  for (const [name, code] of constraints) {
    const violation = sql.raw(
      `do $$ begin raise exception 'violated' using errcode = '${code}', constraint = '${name}'; end $$`,
    );
    for (const run of [mapped.query, mapped.transaction])
      await assert.rejects(
        run((db) => db.execute(violation)),
        (error) => error instanceof Failure && error.code === failures[name]?.(undefined).code,
        name,
      );
  }
}
