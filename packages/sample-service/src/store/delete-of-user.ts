import { auditAfterCommit } from '@zerda/chassis/audit/audit-after-commit';
import type { Queries } from '@zerda/chassis/database/database';
import { appendEvents } from '@zerda/events/outbox';
import { asc, eq, inArray } from 'drizzle-orm';
import { announceDeleted } from './sample-item-events.ts';
import { sampleItems } from './tables.ts';

/** Maximum number of rows that one transaction deletes, which limits its duration. */
const batchSize = 100;

/**
 * Deletes one batch of a deleted user's sample items, each with its event. Returns `more` while others may remain; the next call finds
 * them.
 */
export async function deleteOfUser(tx: Queries, userId: number): Promise<'more' | undefined> {
  const rows = await tx
    .select()
    .from(sampleItems)
    .where(eq(sampleItems.userId, userId))
    .orderBy(asc(sampleItems.id))
    .limit(batchSize)
    .for('update');
  if (rows.length === 0) return undefined;
  const ids = rows.map(({ id }) => id);
  await tx.delete(sampleItems).where(inArray(sampleItems.id, ids));
  await appendEvents(tx, rows.map(announceDeleted));
  auditAfterCommit(
    tx,
    ids.map((entityId) => ({ action: 'sample-item.delete', entityId })),
  );
  return rows.length === batchSize ? 'more' : undefined;
}
