import assert from 'node:assert/strict';
import { sql } from 'drizzle-orm';
import { Failure } from '../failure.ts';
import { type ConstraintFailures, mapConstraints } from './constraints.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';

/** Names and SQLSTATEs of all that a row can violate, from the catalogue: constraints, and unique indexes that are none. */
async function readConstraints(database: Database): Promise<Map<string, string>> {
  const rows = await database.read((db) =>
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

/**
 * Holds that a service says of each constraint of its schema what a violation is, and of no other, and that callers of the database
 * get it.
 * @param unmade constraints of tables that are made when they are first needed
 */
export async function assertConstraintsMapped(
  database: Database,
  failures: ConstraintFailures,
  unmade: readonly string[] = ['loaded_data_pkey'],
): Promise<void> {
  const constraints = await readConstraints(database);
  assert.ok(constraints.size > 10);
  assert.deepEqual(
    [...constraints.keys()].sort(),
    Object.keys(failures)
      .filter((name) => !unmade.includes(name))
      .sort(),
  );
  const mapped = mapConstraints(database, failures);
  for (const [name, code] of constraints) {
    const violation = sql.raw(
      `do $$ begin raise exception 'violated' using errcode = '${code}', constraint = '${name}'; end $$`,
    );
    for (const run of [mapped.read, mapped.write])
      await assert.rejects(
        run((db) => db.execute(violation)),
        (error) => error instanceof Failure && error.code === failures[name]?.(undefined).code,
        name,
      );
  }
}
