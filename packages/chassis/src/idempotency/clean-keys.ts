import { sql } from 'drizzle-orm';
import { type CleanerOptions, deleteOld, startCleaner } from '../database/cleaner.ts';
import type { Database } from '../database/database.ts';
import { keptForHours } from './idempotency.ts';

/**
 * Deletes the keys that are no longer good for anything; returns how many there were.
 * @param signal ends it after the statement in hand; the rest stays for another round
 */
export function cleanKeys(database: Database, signal?: AbortSignal): Promise<number> {
  const isOld = sql`created_at < now() - ${sql.raw(`interval '${keptForHours} hours'`)}`;
  return deleteOld(database, { table: sql`idempotency_keys`, isOld, signal });
}

export interface KeyCleanerOptions extends Pick<CleanerOptions, 'lifecycle' | 'logger' | 'everyMs'> {
  readonly database: Database;
}

/** Cleans again and again until shutdown. */
export function startKeyCleaner({ database, ...options }: KeyCleanerOptions): void {
  startCleaner({ ...options, what: 'old idempotency keys', clean: (signal) => cleanKeys(database, signal) });
}
