import type { Queries } from '@zerda/chassis/database/database';
import { deferStatement } from '@zerda/chassis/database/deferred-statements';
import { prepareQuery } from '@zerda/chassis/database/prepared-query';
import { sql } from 'drizzle-orm';
import { userCounters } from './tables.ts';

/** Number of rows that share the count, so that concurrent writers rarely wait for a lock. */
const slots = 16;

/** Adds a user to the count (1) or removes it (-1); runs in the transaction that writes the user. */
export async function countUser(tx: Queries, id: number, change: 1 | -1): Promise<void> {
  await deferStatement(tx, addToCounter(tx, { slot: id % slots, change }));
}

const addToCounter = prepareQuery((db) =>
  db
    .insert(userCounters)
    .values({ slot: sql.placeholder('slot'), users: sql.placeholder('change') })
    .onConflictDoUpdate({
      target: userCounters.slot,
      set: { users: sql`${userCounters.users} + excluded.users` },
    }),
);

const selectCount = prepareQuery((db) =>
  db.select({ users: sql<number>`coalesce(sum(${userCounters.users}), 0)::int8` }).from(userCounters),
);

/** Returns the number of users. The cost does not depend on the number of users. */
export async function readUserCount(db: Queries): Promise<number> {
  const [row] = await selectCount(db);
  return row?.users ?? 0;
}
