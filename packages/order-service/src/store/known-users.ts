import type { Queries } from '@zerda/chassis/database/database';
import { eq } from 'drizzle-orm';
import type { UserState } from '../domain/place-order.ts';
import { unknownUser } from '../domain/unknown-user.ts';
import { knownUsers } from './tables.ts';

/** Returns the state of a user; undefined if the projection has no row, in which case the user may exist. */
export async function readUserState(db: Queries, userId: number): Promise<UserState | undefined> {
  return stateOf(await db.select().from(knownUsers).where(eq(knownUsers.userId, userId)));
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

/**
 * Locks a user against deletion until the transaction ends. A user without a row is added, because the caller has verified
 * that the user exists.
 * @throws Failure `unknown-user` if the user was deleted
 */
export async function lockKnownUser(tx: Queries, userId: number): Promise<void> {
  let state = await lockUser(tx, userId);
  if (state === undefined) {
    await addKnownUsers(tx, [userId]);
    state = await lockUser(tx, userId);
  }
  if (state !== 'known') throw unknownUser();
}

async function lockUser(tx: Queries, userId: number): Promise<UserState | undefined> {
  return stateOf(await tx.select().from(knownUsers).where(eq(knownUsers.userId, userId)).for('share'));
}

function stateOf([user]: { readonly deleted: boolean }[]): UserState | undefined {
  if (user === undefined) return undefined;
  return user.deleted ? 'deleted' : 'known';
}
