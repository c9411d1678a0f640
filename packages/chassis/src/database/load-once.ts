import { sql } from 'drizzle-orm';
import type { Database, Queries } from './database.ts';
import { rowsOf } from './rows-of.ts';

/**
 * Runs `work` once in the life of a database, whatever replicas start together: the row that says so is part of its
 * transaction. Returns whether it ran now.
 */
export async function loadOnce(
  database: Database,
  name: string,
  work: (tx: Queries) => Promise<void>,
): Promise<boolean> {
  return database.write(async (tx) => {
    // Of two `create table if not exists` at once one fails; the lock puts them in a row.
    await tx.execute(sql`select pg_advisory_xact_lock(hashtext('loaded_data'))`);
    await tx.execute(
      sql`create table if not exists loaded_data (name text primary key, loaded_at timestamptz not null default now())`,
    );
    const inserted = await rowsOf(
      tx,
      sql`insert into loaded_data (name) values (${name}) on conflict do nothing returning name`,
    );
    const first = inserted.length === 1;
    if (first) await work(tx);
    return first;
  });
}
