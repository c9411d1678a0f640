import { type CleanerOptions, deleteOldRows, startCleaner } from '@zerda/chassis/database/cleaner';
import type { Database } from '@zerda/chassis/database/database';
import { type SQL, sql } from 'drizzle-orm';

/** Condition of expired rows, by table. */
const expiredRows: readonly { readonly table: SQL; readonly isOld: SQL }[] = [
  { table: sql`sessions`, isOld: sql`expires_at < now()` },
  { table: sql`login_attempts`, isOld: sql`at < now() - interval '1 day'` },
  { table: sql`known_addresses`, isOld: sql`last_at < now() - interval '90 days'` },
];

/** Deletes expired sessions, attempts older than a day and addresses unused for 90 days. Returns the number of deleted rows. */
export async function cleanIdentity(database: Database, signal?: AbortSignal): Promise<number> {
  let deleted = 0;
  for (const rows of expiredRows) deleted += await deleteOldRows(database, { ...rows, signal });
  return deleted;
}

/** Runs `cleanIdentity` periodically until shutdown. */
export function startIdentityCleaner({
  database,
  ...options
}: Pick<CleanerOptions, 'lifecycle' | 'logger' | 'everyMs'> & { readonly database: Database }): void {
  startCleaner({ ...options, what: 'old sessions', clean: (signal) => cleanIdentity(database, signal) });
}
