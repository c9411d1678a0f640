import type { Queries } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { type EventEnvelope, versionOf } from '@zerda/contracts/events/envelope';
import { type SQL, sql } from 'drizzle-orm';

/** How an event compares with the events that were processed before. */
export type Classification = 'new' | 'duplicate' | 'stale';

/**
 * Classifies an event as new, duplicate or stale. Locks its subject, so that other deliveries for it wait until the
 * transaction ends.
 */
export async function classify(tx: Queries, event: EventEnvelope): Promise<Classification> {
  const [subject] = await rowsOf<{ version: number; seen: boolean }>(
    tx,
    sql`insert into inbox_subjects as known (source, subject, version) values (${event.source}, ${event.subject}, 0)
      on conflict (source, subject) do update set version = known.version
      returning version, ${isRecorded(event)} as seen`,
  );
  if (subject?.seen) return 'duplicate';
  if (subject !== undefined && subject.version < versionOf(event)) return 'new';
  // A new statement also sees what the concurrent transaction has committed.
  const [latest] = await rowsOf<{ seen: boolean }>(tx, sql`select ${isRecorded(event)} as seen`);
  return latest?.seen ? 'duplicate' : 'stale';
}

/**
 * Always true, after `deleted_failures` has run. Every transaction locks failures before dead letters; without this
 * condition the parts of one statement run in no defined order.
 */
const afterFailuresDeleted = sql`(select count(*) from deleted_failures) >= 0`;

/** Records in the transaction of the handler that an event was processed. Deletes its failures and its dead letter. */
export async function recordProcessed(
  tx: Queries,
  event: EventEnvelope,
  { applied }: { readonly applied: boolean },
): Promise<void> {
  const version = versionOf(event);
  const versionUpdate = applied
    ? sql`updated_version as (update inbox_subjects set version = ${version}
        where source = ${event.source} and subject = ${event.subject}),`
    : sql``;
  await tx.execute(sql`
    with ${versionUpdate}
      deleted_failures as (delete from inbox_failures where event_id = ${event.id} and source = ${event.source} returning 1),
      deleted_dead_letter as (delete from dead_letters where ${isDeadLetterOf(event)} and ${afterFailuresDeleted})
    insert into inbox (source, event_id, type, subject, version, applied)
    values (${event.source}, ${event.id}, ${event.type}, ${event.subject}, ${version}, ${applied})`);
}

/**
 * Counts a failure of an event. Returns the number of failures, and whether the event is already in the dead letters.
 */
export async function countFailure(
  tx: Queries,
  event: EventEnvelope,
  error: string,
): Promise<{ failures: number; deadLettered: boolean }> {
  const [row] = await rowsOf<{ failures: number; deadLettered: boolean }>(
    tx,
    sql`insert into inbox_failures as known (source, event_id, failures, error)
      values (${event.source}, ${event.id}, 1, ${error})
      on conflict (event_id, source) do update
        set failures = known.failures + 1, error = excluded.error, failed_at = now()
      returning failures,
        exists (select 1 from dead_letters where ${isDeadLetterOf(event)}) as "deadLettered"`,
  );
  return row ?? { failures: 1, deadLettered: false };
}

/** A received event for the dead letters. */
export interface NewDeadLetter {
  readonly id: string;
  /** Empty if the text has no source. */
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  /** The text as received. */
  readonly text: string;
  readonly error: string;
  readonly attempts: number;
}

/**
 * Moves a received event to the dead letters. Updates the error if the event is already there. If an event of another source has the
 * same id, the id of this dead letter also contains the source.
 */
export async function deadLetterReceived(tx: Queries, deadLetter: NewDeadLetter): Promise<void> {
  const { id, source, type, subject, text, error, attempts } = deadLetter;
  for (const eventId of deadLetterIds(deadLetter)) {
    const stored = await rowsOf(
      tx,
      sql`
      with deleted_failures as (delete from inbox_failures where event_id = ${id} and source = ${source} returning 1)
      insert into dead_letters (side, event_id, source, type, subject, event, error, attempts)
      select 'receiving', ${eventId}::text, ${source}::text, ${type}::text, ${subject}::text, ${text}::text, ${error}::text,
        ${attempts}::int
      where ${afterFailuresDeleted}
      on conflict (event_id, side) do update
        set error = excluded.error, attempts = dead_letters.attempts + excluded.attempts, failed_at = now()
        where coalesce(dead_letters.source, excluded.source) = excluded.source
      returning 1`,
    );
    if (stored.length === 1) return;
  }
}

/** Returns the possible ids of the dead letter of an event: its id, and the id if another source already uses it. */
function deadLetterIds({ id, source }: Pick<EventEnvelope, 'id' | 'source'>): [string, string] {
  return [id, `${id}@${source}`];
}

/** Condition for the dead letter of a received event. Dead letters without a source were stored by version 0.1.0. */
function isDeadLetterOf(event: EventEnvelope): SQL {
  const [id, idWithSource] = deadLetterIds(event);
  return sql`side = 'receiving' and event_id in (${id}, ${idWithSource})
    and coalesce(dead_letters.source, ${event.source}) = ${event.source}`;
}

function isRecorded({ source, id }: EventEnvelope): SQL {
  return sql`exists (select 1 from inbox where event_id = ${id} and source = ${source})`;
}
