import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { type SQL, sql } from 'drizzle-orm';
import type { OutboxNumbers } from './event-metrics.ts';
import type { OutgoingEvent } from './transport.ts';

/** An event that a relay has leased. */
export interface ClaimedEvent extends OutgoingEvent {
  readonly position: number;
  /** Number of claims, including this one. */
  readonly attempts: number;
}

/** A claimed event and the delay until a relay may claim it again. */
export interface Postponement {
  readonly event: ClaimedEvent;
  readonly delayMs: number;
}

/** The outbox as a queue. Any number of relays can share it. */
export interface OutboxQueue {
  /**
   * Claims events for `leaseMs` milliseconds. Of each subject it claims only the oldest unsent event, unless another
   * relay has leased it.
   */
  claim(limit: number, leaseMs: number): Promise<ClaimedEvent[]>;
  /** Marks events as sent. Returns true if a later event of one of their subjects is unsent. */
  markSent(events: readonly ClaimedEvent[]): Promise<boolean>;
  /**
   * Releases unsent events until their delay ends. Skips events whose lease has expired and that another relay has
   * claimed.
   */
  postpone(postponements: readonly Postponement[]): Promise<void>;
  /** Moves an event to the dead letters, so that later events of its subject can be sent. */
  deadLetter(event: ClaimedEvent, error: string): Promise<void>;
  /** Returns the number of unsent events and the age of the oldest. */
  count(): Promise<OutboxNumbers>;
}

export function createOutboxQueue(database: Database): OutboxQueue {
  const run = <Row>(query: SQL): Promise<Row[]> => database.query((db) => rowsOf<Row>(db, query));

  return {
    claim: (limit, leaseMs) => run(claimStatement(limit, leaseMs)),
    async markSent(events) {
      if (events.length === 0) return false;
      const rows = await run<{ more: boolean }>(sql`
        with ${lockEvents(events)}
        update outbox set sent_at = now() from locked where outbox.position = locked.position
        returning exists (select 1 from outbox as later
          where later.subject = outbox.subject and later.position > outbox.position and later.sent_at is null) as more`);
      return rows.some(({ more }) => more);
    },
    async postpone(postponements) {
      if (postponements.length === 0) return;
      await run(sql`
        with ${lockEvents(postponements.map(({ event }) => event))}
        update outbox set claimed_until = now() + postponed.delay * interval '1 millisecond'
        from unnest(${bigints(postponements.map(({ event }) => event.position))},
          ${bigints(postponements.map(({ event }) => event.attempts))},
          ${bigints(postponements.map(({ delayMs }) => delayMs))}) as postponed (position, attempts, delay)
          join locked on locked.position = postponed.position
        where outbox.position = postponed.position and outbox.attempts = postponed.attempts and sent_at is null`);
    },
    async deadLetter(event, error) {
      await run(sql`
        with failed as (delete from outbox where position = ${event.position} and sent_at is null
          returning id, type, subject, event, attempts)
        insert into dead_letters (side, event_id, type, subject, event, error, attempts)
        select 'sending', id::text, type, subject, event::text, ${error}::text, attempts from failed
        on conflict (event_id, side) do update
          set error = excluded.error, attempts = excluded.attempts, failed_at = now()`);
    },
    async count() {
      const [row] = await run<{ pending: number; oldest: number }>(sql`
        select count(*) as pending, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest
        from outbox where sent_at is null`);
      return { pending: row?.pending ?? 0, oldestSeconds: row?.oldest ?? 0 };
    },
  };
}

/**
 * Claims the oldest unsent event of each subject. `skip locked` alone would allow two relays to claim two events of one
 * subject. An older event cannot appear later, because its transaction held the row lock of the subject until it
 * committed.
 *
 * `offset 0` makes PostgreSQL evaluate the subquery row by row. Without it, PostgreSQL joins; if its statistics date
 * from an empty backlog, the join scans the whole backlog for each claimed event.
 */
export function claimStatement(limit: number, leaseMs: number): SQL {
  return sql`
    with due as (
      select position from outbox as candidate
      where sent_at is null and (claimed_until is null or claimed_until <= now())
        and not exists (select 1 from outbox as earlier
          where earlier.subject = candidate.subject and earlier.sent_at is null and earlier.position < candidate.position
          offset 0)
      order by position limit ${limit} for update skip locked)
    update outbox set claimed_until = now() + ${leaseMs}::int * interval '1 millisecond', attempts = attempts + 1
    from due where outbox.position = due.position
    returning outbox.position, id, type, subject, attempts, event::text as text`;
}

/**
 * Locks events in the order of their positions. After a lease expires, two relays can update the same events; an update
 * alone would lock them in the order of its plan, which can deadlock.
 */
function lockEvents(events: readonly ClaimedEvent[]): SQL {
  return sql`locked as (select position from outbox
    where position = any(${bigints(events.map(({ position }) => position))}) order by position for update)`;
}

function bigints(values: readonly number[]): SQL {
  return sql`${sql.param([...values])}::bigint[]`;
}
