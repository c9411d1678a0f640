import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';

/** Rows a statement deletes at most, so that no transaction is long. */
const batch = 1000;

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
    for (let deleted = batch; deleted === batch && !signal?.aborted; ) {
      const { rows } = (await database.read((db) =>
        db.execute(sql`delete from ${table} where ctid = any(array(
          select ctid from ${table} where ${isOld} limit ${batch})) returning 1`),
      )) as unknown as { rows: unknown[] };
      deleted = rows.length;
    }
  }
}

export interface EventCleanerOptions extends CleaningOptions {
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly logger: Logger;
}

/** Milliseconds between two rounds. */
const everyMs = 600_000;

/** Cleans again and again until shutdown. A round that fails is logged; the next one does its work. */
export function startEventCleaner({ lifecycle, logger, ...cleaning }: EventCleanerOptions): void {
  const stop = new AbortController();
  let round: Promise<void> | undefined;

  async function clean(): Promise<void> {
    try {
      await cleanEvents(cleaning, stop.signal);
    } catch (error) {
      logger.warn({ err: error }, 'old events could not be cleaned');
    }
    round = undefined;
  }

  const timer = setInterval(() => {
    round ??= clean();
  }, everyMs);
  timer.unref();
  lifecycle.onShutdown('event cleaner', () => {
    clearInterval(timer);
    stop.abort();
    return round;
  });
}
