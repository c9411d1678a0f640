import { sql } from 'drizzle-orm';
import { type CleanerOptions, deleteOldRows, startCleaner } from '../database/cleaner.ts';
import type { Database } from '../database/database.ts';
import { retentionHours } from './key-table.ts';

/**
 * Deletes expired keys and returns their number.
 * @param signal stops after the current statement; the next run deletes the rest
 */
export function cleanKeys(database: Database, signal?: AbortSignal): Promise<number> {
  const isOld = sql`created_at < now() - ${sql.raw(`interval '${retentionHours} hours'`)}`;
  return deleteOldRows(database, { table: sql`idempotency_keys`, isOld, signal });
}

export interface KeyCleanerOptions extends Pick<CleanerOptions, 'lifecycle' | 'logger' | 'everyMs'> {
  readonly database: Database;
}

/** Deletes expired keys periodically until shutdown. */
export function startKeyCleaner({ database, ...options }: KeyCleanerOptions): void {
  startCleaner({ ...options, what: 'old idempotency keys', clean: (signal) => cleanKeys(database, signal) });
}
