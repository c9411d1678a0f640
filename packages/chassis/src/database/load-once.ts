import { sql } from 'drizzle-orm';
import type { Database, Queries } from './database.ts';
import { rowsOf } from './rows-of.ts';

/**
 * Runs `work` once per database, also if several replicas start together. The row that records it is part of the same
 * transaction. A migration creates the table `loaded_data`. Returns whether `work` ran.
 */
export async function loadOnce(
  database: Database,
  name: string,
  work: (tx: Queries) => Promise<void>,
): Promise<boolean> {
  return database.transaction(async (tx) => {
    // Waits for a concurrent transaction that inserts the same name.
    const inserted = await rowsOf(
      tx,
      sql`insert into loaded_data (name) values (${name}) on conflict do nothing returning name`,
    );
    const isFirst = inserted.length === 1;
    if (isFirst) await work(tx);
    return isFirst;
  });
}
