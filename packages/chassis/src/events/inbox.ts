import { type EventEnvelope, versionOf } from '@zerda/contracts/events/envelope';
import { type SQL, sql } from 'drizzle-orm';
import type { Queries } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';

/** Whether an event has news. */
export type Verdict = 'news' | 'duplicate' | 'stale';

/**
 * Looks whether an event has news, and keeps other deliveries about the same subject waiting until the transaction ends.
 * A repeat finds its own row, and what is not newer than what was applied finds that version.
 */
export async function judge(tx: Queries, event: EventEnvelope): Promise<Verdict> {
  const [known] = await rowsOf<{ version: number; seen: boolean }>(
    tx,
    sql`insert into inbox_subjects as known (source, subject, version) values (${event.source}, ${event.subject}, 0)
      on conflict (source, subject) do update set version = known.version
      returning version, ${isSeen(event)} as seen`,
  );
  if (known?.seen) return 'duplicate';
  if (known !== undefined && known.version < versionOf(event)) return 'news';
  // What the transaction that was waited for has written is seen by a statement that begins now.
  const [again] = await rowsOf<{ seen: boolean }>(tx, sql`select ${isSeen(event)} as seen`);
  return again?.seen ? 'duplicate' : 'stale';
}

/**
 * Always true, once `forgiven` is done: failures are locked before dead letters, whoever deals with an event. The parts of one statement
 * have no order of their own.
 */
const afterForgiven = sql`(select count(*) from forgiven) >= 0`;

/** Notes, in the transaction of its effect, that an event was dealt with; nothing is left of its failures. */
export async function note(
  tx: Queries,
  event: EventEnvelope,
  { applied }: { readonly applied: boolean },
): Promise<void> {
  const version = versionOf(event);
  const raised = applied
    ? sql`raised as (update inbox_subjects set version = ${version}
        where source = ${event.source} and subject = ${event.subject}),`
    : sql``;
  await tx.execute(sql`
    with ${raised}
      forgiven as (delete from inbox_failures where event_id = ${event.id} and source = ${event.source} returning 1),
      revived as (delete from dead_letters where event_id = ${event.id} and side = 'receiving' and ${afterForgiven})
    insert into inbox (source, event_id, type, subject, version, applied)
    values (${event.source}, ${event.id}, ${event.type}, ${event.subject}, ${version}, ${applied})`);
}

/** Counts a failure of an event; returns how many there are, and whether it lies in the dead letters already. */
export async function countFailure(
  tx: Queries,
  event: EventEnvelope,
  error: string,
): Promise<{ failures: number; buried: boolean }> {
  const [row] = await rowsOf<{ failures: number; buried: boolean }>(
    tx,
    sql`insert into inbox_failures as known (source, event_id, failures, error)
      values (${event.source}, ${event.id}, 1, ${error})
      on conflict (event_id, source) do update
        set failures = known.failures + 1, error = excluded.error, failed_at = now()
      returning failures,
        exists (select 1 from dead_letters where event_id = ${event.id} and side = 'receiving') as buried`,
  );
  return row ?? { failures: 1, buried: false };
}

/** What is put into the dead letters. */
export interface Burial {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** What came, as it came. */
  readonly text: string;
  readonly error: string;
  readonly attempts: number;
}

/** Puts what came into the dead letters; what lies there already gets its newest error. */
export async function buryReceived(tx: Queries, burial: Burial): Promise<void> {
  const { id, type, subject, text, error, attempts } = burial;
  await tx.execute(sql`
    with forgiven as (delete from inbox_failures where event_id = ${id} returning 1)
    insert into dead_letters (side, event_id, type, subject, event, error, attempts)
    select 'receiving', ${id}::text, ${type}::text, ${subject}::text, ${text}::text, ${error}::text, ${attempts}::int
    where ${afterForgiven}
    on conflict (event_id, side) do update
      set error = excluded.error, attempts = dead_letters.attempts + excluded.attempts, failed_at = now()`);
}

function isSeen({ source, id }: EventEnvelope): SQL {
  return sql`exists (select 1 from inbox where event_id = ${id} and source = ${source})`;
}
