import { readFile } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';

/** Makes the table of keys, as the migrations of every service do. */
export async function createKeyTable(database: Database): Promise<void> {
  const text = await readFile(new URL('idempotency-table.sql', import.meta.url), 'utf8');
  await database.write(async (tx) => {
    for (const statement of text.split(';').filter((part) => part.trim() !== ''))
      await tx.execute(sql.raw(statement));
  });
}
