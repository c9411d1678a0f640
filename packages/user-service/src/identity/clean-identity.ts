import { type CleanerOptions, deleteOld, startCleaner } from '@zerda/chassis/database/cleaner';
import type { Database } from '@zerda/chassis/database/database';
import { type SQL, sql } from 'drizzle-orm';

/** What is good for nothing any more, by table. */
const old: readonly { readonly table: SQL; readonly isOld: SQL }[] = [
  { table: sql`sessions`, isOld: sql`expires_at < now()` },
  { table: sql`login_attempts`, isOld: sql`at < now() - interval '1 day'` },
  { table: sql`known_addresses`, isOld: sql`last_at < now() - interval '90 days'` },
];

/** Deletes sessions that have ended, attempts that count no more, and addresses that were not used for 90 days; returns how many. */
export async function cleanIdentity(database: Database, signal?: AbortSignal): Promise<number> {
  let deleted = 0;
  for (const one of old) deleted += await deleteOld(database, { ...one, signal });
  return deleted;
}

/** Cleans again and again until shutdown. */
export function startIdentityCleaner({
  database,
  ...options
}: Pick<CleanerOptions, 'lifecycle' | 'logger' | 'everyMs'> & { readonly database: Database }): void {
  startCleaner({ ...options, what: 'old sessions', clean: (signal) => cleanIdentity(database, signal) });
}
