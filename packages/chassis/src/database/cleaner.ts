import { type SQL, sql } from 'drizzle-orm';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';

/** Maximum number of rows per statement, to keep transactions short. */
const batchSize = 1000;

/**
 * Deletes old rows of a table and returns their number. Skips locked rows, so that it cannot deadlock with other
 * transactions; the next run deletes them.
 * @param signal stops after the current statement; the next run deletes the rest
 */
export async function deleteOldRows(
  database: Database,
  {
    table,
    isOld,
    signal,
  }: { readonly table: SQL; readonly isOld: SQL; readonly signal: AbortSignal | undefined },
): Promise<number> {
  for (let deleted = 0; ; ) {
    const rows = await database.query((db) =>
      rowsOf(
        db,
        sql`delete from ${table} where ctid = any(array(
          select ctid from ${table} where ${isOld} limit ${batchSize} for update skip locked)) returning 1`,
      ),
    );
    deleted += rows.length;
    if (rows.length < batchSize || signal?.aborted) return deleted;
  }
}

export interface CleanerOptions {
  /** What is deleted, for the log and the shutdown: `old events`. */
  readonly what: string;
  /** Deletes once; the signal stops it after the current statement. */
  readonly clean: (signal: AbortSignal) => Promise<unknown>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly logger: Logger;
  /** Interval in milliseconds; ten minutes by default. */
  readonly everyMs?: number | undefined;
}

/** Runs `clean` periodically until shutdown. Logs a failed run; the next run catches up. */
export function startCleaner({ what, clean, lifecycle, logger, everyMs = 600_000 }: CleanerOptions): void {
  const stop = new AbortController();
  let currentRun: Promise<void> | undefined;

  async function run(): Promise<void> {
    try {
      await clean(stop.signal);
    } catch (error) {
      logger.warn({ err: error }, `deleting ${what} failed`);
    }
    currentRun = undefined;
  }

  // Runs never overlap.
  const timer = setInterval(() => {
    currentRun ??= run();
  }, everyMs);
  timer.unref();
  lifecycle.onShutdown(`cleaner of ${what}`, () => {
    clearInterval(timer);
    stop.abort();
    return currentRun;
  });
}
