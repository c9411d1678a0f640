import { type SQL, sql } from 'drizzle-orm';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Database } from './database.ts';
import { rowsOf } from './rows-of.ts';

/** Rows a statement deletes at most, so that no transaction is long. */
const batch = 1000;

/**
 * Deletes the rows of a table that are old, and returns how many there were. Rows that another transaction has locked are left for
 * another round, so the two never wait for each other in a circle.
 * @param signal ends it after the statement in hand; the rest stays for another round
 */
export async function deleteOld(
  database: Database,
  {
    table,
    isOld,
    signal,
  }: { readonly table: SQL; readonly isOld: SQL; readonly signal: AbortSignal | undefined },
): Promise<number> {
  for (let deleted = 0; ; ) {
    const rows = await database.read((db) =>
      rowsOf(
        db,
        sql`delete from ${table} where ctid = any(array(
          select ctid from ${table} where ${isOld} limit ${batch} for update skip locked)) returning 1`,
      ),
    );
    deleted += rows.length;
    if (rows.length < batch || signal?.aborted) return deleted;
  }
}

export interface CleanerOptions {
  /** What is cleaned, for the log and the shutdown: `old events`. */
  readonly what: string;
  /** One round; the signal ends it after the statement in hand. */
  readonly clean: (signal: AbortSignal) => Promise<unknown>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly logger: Logger;
  /** Milliseconds between two rounds; ten minutes by default. */
  readonly everyMs?: number | undefined;
}

/** Cleans again and again until shutdown. A round that fails is logged; the next one does its work. */
export function startCleaner({ what, clean, lifecycle, logger, everyMs = 600_000 }: CleanerOptions): void {
  const stop = new AbortController();
  let round: Promise<void> | undefined;

  async function run(): Promise<void> {
    try {
      await clean(stop.signal);
    } catch (error) {
      logger.warn({ err: error }, `${what} could not be cleaned`);
    }
    round = undefined;
  }

  // A round that takes longer than the time between two is not joined by another.
  const timer = setInterval(() => {
    round ??= run();
  }, everyMs);
  timer.unref();
  lifecycle.onShutdown(`cleaner of ${what}`, () => {
    clearInterval(timer);
    stop.abort();
    return round;
  });
}
