import { readFile } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import type { Database } from '../src/database/database.ts';

/** Creates the table of keys, like the migrations of every service. */
export async function createKeyTable(database: Database): Promise<void> {
  const text = await readFile(new URL('../src/idempotency/idempotency-table.sql', import.meta.url), 'utf8');
  await database.transaction(async (tx) => {
    for (const statement of text.split(';').filter((part) => part.trim() !== ''))
      await tx.execute(sql.raw(statement));
  });
}
