import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { type SQL, sql } from 'drizzle-orm';
import type { DeadLetterNumbers, EventSide } from './event-metrics.ts';
import { type EventReceiver, MalformedEventError } from './transport.ts';

/** An event that could not be sent or processed. */
export interface DeadLetter {
  readonly eventId: string;
  readonly side: EventSide;
  readonly type: string;
  readonly subject: string;
  /** The event as text. */
  readonly event: string;
  readonly error: string;
  readonly attempts: number;
  readonly failedAt: Date;
}

/** The dead letters of a service. */
export interface DeadLetters {
  /** Returns the number of dead letters by side. */
  count(): Promise<DeadLetterNumbers>;
  /** Returns the newest dead letters, at most `limit`. */
  list(limit: number): Promise<DeadLetter[]>;
  /** Returns the dead letters of one event: at most one for each side. */
  find(eventId: string): Promise<DeadLetter[]>;
  /**
   * Retries an event once. An unsent event moves to the end of the outbox; a received event is passed to its handler
   * now. Deletes the dead letter unless the result is `ignored` or `failed again`.
   */
  replay(
    letter: DeadLetter,
  ): Promise<'queued' | 'applied' | 'stale' | 'duplicate' | 'ignored' | 'failed again'>;
  /** Deletes a dead letter. */
  discard(letter: DeadLetter): Promise<void>;
}

/** @param receiver processes received events; undefined for a service without subscriptions */
export function createDeadLetters(database: Database, receiver?: EventReceiver): DeadLetters {
  const run = <Row>(query: SQL): Promise<Row[]> => database.query((db) => rowsOf<Row>(db, query));

  async function read(rest: SQL): Promise<DeadLetter[]> {
    const rows = await run<DeadLetter & { readonly failedAt: Date | string }>(
      sql`select event_id as "eventId", side, type, subject, event, error, attempts, failed_at as "failedAt"
        from dead_letters ${rest}`,
    );
    return rows.map((row) => ({ ...row, failedAt: new Date(row.failedAt) }));
  }

  const matches = ({ eventId, side }: DeadLetter): SQL => sql`event_id = ${eventId} and side = ${side}`;

  async function redeliver(letter: DeadLetter): Promise<Awaited<ReturnType<DeadLetters['replay']>>> {
    if (receiver === undefined) return 'ignored';
    try {
      const { outcome } = await receiver.receive(letter.event);
      if (outcome === 'duplicate') await run(sql`delete from dead_letters where ${matches(letter)}`);
      if (outcome === 'applied' || outcome === 'stale' || outcome === 'duplicate' || outcome === 'ignored') {
        return outcome;
      }
    } catch (error) {
      if (!(error instanceof MalformedEventError)) throw error;
    }
    return 'failed again';
  }

  return {
    async count() {
      const rows = await run<{ side: EventSide; count: number }>(
        sql`select side, count(*)::int as count from dead_letters group by side`,
      );
      return {
        sending: 0,
        receiving: 0,
        ...Object.fromEntries(rows.map(({ side, count }) => [side, count])),
      };
    },
    list: (limit) => read(sql`order by id desc limit ${limit}`),
    find: (eventId) => read(sql`where event_id = ${eventId} order by id`),
    async replay(letter) {
      if (letter.side === 'receiving') return redeliver(letter);
      await run(sql`
        with revived as (delete from dead_letters where ${matches(letter)} returning event_id, type, subject, event)
        insert into outbox (id, type, subject, event) select event_id::uuid, type, subject, event::json from revived`);
      return 'queued';
    },
    async discard(letter) {
      await run(sql`delete from dead_letters where ${matches(letter)}`);
    },
  };
}
