import { type SQL, sql } from 'drizzle-orm';
import { type CleanerOptions, deleteOld, startCleaner } from '../database/cleaner.ts';
import type { Database } from '../database/database.ts';

export interface CleaningOptions {
  readonly database: Database;
  /** Hours that what was sent and what was dealt with is kept. */
  readonly keptForHours: number;
  /** Whether the service hears events, and so has an inbox. */
  readonly hears: boolean;
}

/**
 * Deletes events that were sent, notes of those that were dealt with, and failures of those that never came again. The
 * newest version of each subject stays, so that even an event that comes after that time has no second effect.
 * @param signal ends it after the statement in hand; the rest stays for another round
 */
export async function cleanEvents(
  { database, keptForHours, hears }: CleaningOptions,
  signal?: AbortSignal,
): Promise<void> {
  const oldest = sql`now() - ${keptForHours}::int * interval '1 hour'`;
  const old: readonly (readonly [table: SQL, isOld: SQL])[] = [
    [sql`outbox`, sql`sent_at < ${oldest}`],
    ...(hears
      ? ([
          [sql`inbox`, sql`received_at < ${oldest}`],
          [sql`inbox_failures`, sql`failed_at < ${oldest}`],
        ] as const)
      : []),
  ];
  for (const [table, isOld] of old) {
    if (!signal?.aborted) await deleteOld(database, { table, isOld, signal });
  }
}

export interface EventCleanerOptions extends CleaningOptions, Pick<CleanerOptions, 'lifecycle' | 'logger'> {}

/** Cleans again and again until shutdown. */
export function startEventCleaner({ lifecycle, logger, ...cleaning }: EventCleanerOptions): void {
  startCleaner({ lifecycle, logger, what: 'old events', clean: (signal) => cleanEvents(cleaning, signal) });
}
