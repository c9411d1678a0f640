import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import { keptForHours } from './idempotency.ts';

/** Rows a statement deletes at most, so that no transaction is long. */
const batch = 1000;

/**
 * Deletes the keys that are no longer good for anything; returns how many there were.
 * @param signal ends it after the statement in hand; the rest stays for another round
 */
export async function cleanKeys(database: Database, signal?: AbortSignal): Promise<number> {
  for (let deleted = 0; ; ) {
    const { rows } = (await database.read((db) =>
      db.execute(sql`delete from idempotency_keys where ctid = any(array(
        select ctid from idempotency_keys
        where created_at < now() - ${sql.raw(`interval '${keptForHours} hours'`)} limit ${batch}))
        returning 1`),
    )) as unknown as { rows: unknown[] };
    deleted += rows.length;
    if (rows.length < batch || signal?.aborted) return deleted;
  }
}

export interface KeyCleanerOptions {
  readonly database: Database;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly logger: Logger;
  /** Milliseconds between two rounds; ten minutes by default. */
  readonly everyMs?: number;
}

/** Cleans again and again until shutdown. A round that fails is logged; the next one does its work. */
export function startKeyCleaner({ database, lifecycle, logger, everyMs = 600_000 }: KeyCleanerOptions): void {
  const stop = new AbortController();
  let round: Promise<void> | undefined;

  async function clean(): Promise<void> {
    try {
      await cleanKeys(database, stop.signal);
    } catch (error) {
      logger.warn({ err: error }, 'old idempotency keys could not be cleaned');
    }
    round = undefined;
  }

  // A round that takes longer than the time between two is not joined by another.
  const timer = setInterval(() => {
    round ??= clean();
  }, everyMs);
  timer.unref();
  lifecycle.onShutdown('key cleaner', () => {
    clearInterval(timer);
    stop.abort();
    return round;
  });
}
