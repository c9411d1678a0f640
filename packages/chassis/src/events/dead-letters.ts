import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';
import type { EventSide } from '../metrics/event-metrics.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** An event that was given up. */
export interface DeadLetter {
  readonly eventId: string;
  readonly side: EventSide;
  readonly type: string;
  readonly subject: string;
  /** What was to be sent, or what came. */
  readonly event: string;
  readonly error: string;
  readonly attempts: number;
  readonly failedAt: Date;
}

/** The events a service has given up, and what can be done about them. */
export interface DeadLetters {
  /** The newest ones, `limit` at most. */
  list(limit: number): Promise<DeadLetter[]>;
  /** Those of one event: one, or two when it was given up on both sides. */
  find(eventId: string): Promise<DeadLetter[]>;
  /**
   * Tries once more. One that could not be sent goes to the end of the outbox, whose relay sends it; one that came is handed to
   * its handler now. Returns what became of it, in a word; unless it says so, the letter is gone.
   */
  replay(
    letter: DeadLetter,
  ): Promise<'queued' | 'applied' | 'stale' | 'duplicate' | 'ignored' | 'failed again'>;
  /** Forgets a letter. */
  discard(letter: DeadLetter): Promise<void>;
}

/** @param receiver deals with the events that came; undefined for a service that hears none */
export function createDeadLetters(database: Database, receiver?: EventReceiver): DeadLetters {
  const run = <Row>(query: SQL): Promise<Row[]> => database.read((db) => rowsOf<Row>(db, query));

  async function read(rest: SQL): Promise<DeadLetter[]> {
    const rows = await run<DeadLetter & { readonly failedAt: Date | string }>(
      sql`select event_id as "eventId", side, type, subject, event, error, attempts, failed_at as "failedAt"
        from dead_letters ${rest}`,
    );
    return rows.map((row) => ({ ...row, failedAt: new Date(row.failedAt) }));
  }

  const isOf = ({ eventId, side }: DeadLetter): SQL => sql`event_id = ${eventId} and side = ${side}`;

  async function handle(letter: DeadLetter): Promise<Awaited<ReturnType<DeadLetters['replay']>>> {
    if (receiver === undefined) return 'ignored';
    try {
      const { outcome } = await receiver.receive(letter.event);
      if (outcome === 'duplicate') await run(sql`delete from dead_letters where ${isOf(letter)}`);
      if (outcome === 'applied' || outcome === 'stale' || outcome === 'duplicate' || outcome === 'ignored') {
        return outcome;
      }
    } catch (error) {
      if (!(error instanceof MalformedEventError)) throw error;
    }
    return 'failed again';
  }

  return {
    list: (limit) => read(sql`order by id desc limit ${limit}`),
    find: (eventId) => read(sql`where event_id = ${eventId} order by id`),
    async replay(letter) {
      if (letter.side === 'receiving') return handle(letter);
      await run(sql`
        with revived as (delete from dead_letters where ${isOf(letter)} returning event_id, type, subject, event)
        insert into outbox (id, type, subject, event) select event_id::uuid, type, subject, event::json from revived`);
      return 'queued';
    },
    async discard(letter) {
      await run(sql`delete from dead_letters where ${isOf(letter)}`);
    },
  };
}
