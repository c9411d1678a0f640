import type { Queries } from '@zerda/chassis/database/database';
import { sql } from 'drizzle-orm';
import { userCounters } from './tables.ts';

/** Rows that share the count, so that writers at the same time seldom wait for one another. */
const slots = 16;

/** Counts a user in (1) or out (-1), in the transaction that writes the row. */
export async function countUser(tx: Queries, id: number, change: 1 | -1): Promise<void> {
  await tx
    .insert(userCounters)
    .values({ slot: id % slots, users: change })
    .onConflictDoUpdate({
      target: userCounters.slot,
      set: { users: sql`${userCounters.users} + excluded.users` },
    });
}

/** The number of users, without reading them. */
export async function readUserCount(db: Queries): Promise<number> {
  const [row] = await db
    .select({ users: sql<number>`coalesce(sum(${userCounters.users}), 0)::int8` })
    .from(userCounters);
  return row?.users ?? 0;
}
