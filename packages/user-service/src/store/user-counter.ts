import type { Queries } from '@zerda/chassis/database/database';
import { sql } from 'drizzle-orm';
import { userCounters } from './tables.ts';

/** Number of rows that share the count, so that concurrent writers rarely wait for a lock. */
const slots = 16;

/** Adds a user to the count (1) or removes it (-1); runs in the transaction that writes the user. */
export async function countUser(tx: Queries, id: number, change: 1 | -1): Promise<void> {
  await tx
    .insert(userCounters)
    .values({ slot: id % slots, users: change })
    .onConflictDoUpdate({
      target: userCounters.slot,
      set: { users: sql`${userCounters.users} + excluded.users` },
    });
}

/** Returns the number of users. The cost does not depend on the number of users. */
export async function readUserCount(db: Queries): Promise<number> {
  const [row] = await db
    .select({ users: sql<number>`coalesce(sum(${userCounters.users}), 0)::int8` })
    .from(userCounters);
  return row?.users ?? 0;
}
