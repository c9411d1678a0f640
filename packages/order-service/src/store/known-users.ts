import type { Queries } from '@zerda/chassis/database/database';
import { prepareQuery } from '@zerda/chassis/database/prepared-query';
import { eq, sql } from 'drizzle-orm';
import { knownUsers } from './tables.ts';

/** State of a user in the projection. */
export type UserState = 'known' | 'deleted';

const selectUser = prepareQuery((db) =>
  db
    .select()
    .from(knownUsers)
    .where(eq(knownUsers.userId, sql.placeholder('userId'))),
);

/** Returns the state of a user; undefined if the projection has no row, in which case the user may exist. */
export async function readUserState(db: Queries, userId: number): Promise<UserState | undefined> {
  const [user] = await selectUser(db, { userId });
  if (user === undefined) return undefined;
  return user.deleted ? 'deleted' : 'known';
}

/** Adds users to the projection. Deleted users remain deleted. */
export async function addKnownUsers(tx: Queries, userIds: readonly number[]): Promise<void> {
  if (userIds.length === 0) return;
  await tx
    .insert(knownUsers)
    // All writers insert in the same order, which prevents deadlocks.
    .values(userIds.toSorted((a, b) => a - b).map((userId) => ({ userId })))
    .onConflictDoNothing();
}

/** Marks a user as deleted permanently. Waits for orders of the user in flight; later orders are rejected. */
export async function markUserDeleted(tx: Queries, userId: number): Promise<void> {
  await tx
    .insert(knownUsers)
    .values({ userId, deleted: true })
    .onConflictDoUpdate({ target: knownUsers.userId, set: { deleted: true } });
}
