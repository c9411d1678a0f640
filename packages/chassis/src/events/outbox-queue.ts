import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';
import type { OutboxNumbers } from '../metrics/event-metrics.ts';
import type { OutgoingEvent } from './transport.ts';

/** An event that one relay has for a while. */
export interface ClaimedEvent extends OutgoingEvent {
  readonly position: number;
  /** Times it was claimed, this one included. */
  readonly attempts: number;
}

/** When a claimed event may be claimed again. */
export interface Postponement {
  readonly event: ClaimedEvent;
  readonly delayMs: number;
}

/** The outbox as a relay sees it; any number of relays work on one. */
export interface OutboxQueue {
  /** Claims events for `leaseMs` milliseconds: of each subject the oldest one that was not sent, if nobody has it. */
  claim(limit: number, leaseMs: number): Promise<ClaimedEvent[]>;
  /** Marks events as sent; true when a later event of one of their subjects waits. */
  markSent(events: readonly ClaimedEvent[]): Promise<boolean>;
  /** Lets events go that were not sent; one whose lease has passed on is left to its new holder. */
  postpone(postponements: readonly Postponement[]): Promise<void>;
  /** Moves an event to the dead letters, which lets the later ones of its subject go on. */
  bury(event: ClaimedEvent, error: string): Promise<void>;
  /** What was not sent yet. */
  count(): Promise<OutboxNumbers>;
}

export function createOutboxQueue(database: Database): OutboxQueue {
  const run = <Row>(query: SQL): Promise<Row[]> => database.read((db) => rowsOf<Row>(db, query));

  return {
    claim: (limit, leaseMs) => run(claimStatement(limit, leaseMs)),
    async markSent(events) {
      if (events.length === 0) return false;
      const rows = await run<{ more: boolean }>(sql`
        with ${locked(events)}
        update outbox set sent_at = now() from locked where outbox.position = locked.position
        returning exists (select 1 from outbox as later
          where later.subject = outbox.subject and later.position > outbox.position and later.sent_at is null) as more`);
      return rows.some(({ more }) => more);
    },
    async postpone(postponements) {
      if (postponements.length === 0) return;
      await run(sql`
        with ${locked(postponements.map(({ event }) => event))}
        update outbox set claimed_until = now() + late.delay * interval '1 millisecond'
        from unnest(${bigints(postponements.map(({ event }) => event.position))},
          ${bigints(postponements.map(({ event }) => event.attempts))},
          ${bigints(postponements.map(({ delayMs }) => delayMs))}) as late (position, attempts, delay)
          join locked on locked.position = late.position
        where outbox.position = late.position and outbox.attempts = late.attempts and sent_at is null`);
    },
    async bury(event, error) {
      await run(sql`
        with refused as (delete from outbox where position = ${event.position} and sent_at is null
          returning id, type, subject, event, attempts)
        insert into dead_letters (side, event_id, type, subject, event, error, attempts)
        select 'sending', id::text, type, subject, event::text, ${error}::text, attempts from refused
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
 * The oldest unsent event of each subject: `skip locked` alone would let two relays have two events of one subject. That an
 * older one may turn up later is impossible, for its transaction held the row of the subject until it had committed.
 *
 * `offset 0` has PostgreSQL ask for earlier ones row by row. Left to itself it joins, and where its statistics are of an outbox in
 * which all was sent, it goes through the whole backlog for each event that it hands out.
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
 * Locks events in the order of their positions: when a lease has run out, two relays write about the same events, and an update by
 * itself takes the rows in whatever order its plan has.
 */
function locked(events: readonly ClaimedEvent[]): SQL {
  return sql`locked as (select position from outbox
    where position = any(${bigints(events.map(({ position }) => position))}) order by position for update)`;
}

function bigints(values: readonly number[]): SQL {
  return sql`${sql.param([...values])}::bigint[]`;
}
