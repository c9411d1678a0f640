import { type CleanerOptions, deleteOldRows, startCleaner } from '@zerda/chassis/database/cleaner';
import type { Database } from '@zerda/chassis/database/database';
import { type SQL, sql } from 'drizzle-orm';

export interface CleaningOptions {
  readonly database: Database;
  /** Retention of sent and processed events, in hours. */
  readonly retentionHours: number;
  /** Whether the service subscribes to events, and so has an inbox. */
  readonly hasInbox: boolean;
}

/**
 * Deletes sent events, inbox rows and failures that are older than the retention. The newest version of each subject
 * stays, so that even a very late event is not applied twice.
 * @param signal stops after the current statement; the next run deletes the rest
 */
export async function cleanEvents(
  { database, retentionHours, hasInbox }: CleaningOptions,
  signal?: AbortSignal,
): Promise<void> {
  const cutoff = sql`now() - ${retentionHours}::int * interval '1 hour'`;
  const tables: readonly (readonly [table: SQL, isOld: SQL])[] = [
    [sql`outbox`, sql`sent_at < ${cutoff}`],
    ...(hasInbox
      ? ([
          [sql`inbox`, sql`received_at < ${cutoff}`],
          [sql`inbox_failures`, sql`failed_at < ${cutoff}`],
        ] as const)
      : []),
  ];
  for (const [table, isOld] of tables) {
    if (!signal?.aborted) await deleteOldRows(database, { table, isOld, signal });
  }
}

export interface EventCleanerOptions extends CleaningOptions, Pick<CleanerOptions, 'lifecycle' | 'logger'> {}

/** Deletes old events periodically until shutdown. */
export function startEventCleaner({ lifecycle, logger, ...cleaning }: EventCleanerOptions): void {
  startCleaner({ lifecycle, logger, what: 'old events', clean: (signal) => cleanEvents(cleaning, signal) });
}
