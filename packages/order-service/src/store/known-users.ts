import type { Queries } from '@zerda/chassis/database/database';
import { eq } from 'drizzle-orm';
import { unknownUser } from '../domain/unknown-user.ts';
import { knownUsers } from './tables.ts';

/** What is known of a user: that they are there, or that they are gone. */
export type UserState = 'known' | 'deleted';

/** What is known of a user; undefined when nothing is, which says nothing. */
export async function readUserState(db: Queries, userId: number): Promise<UserState | undefined> {
  return stateOf(await db.select().from(knownUsers).where(eq(knownUsers.userId, userId)));
}

/** Makes users known; those that were deleted stay so. */
export async function rememberUsers(tx: Queries, userIds: readonly number[]): Promise<void> {
  if (userIds.length === 0) return;
  await tx
    .insert(knownUsers)
    // In one order for all writers, so that they do not wait for each other in a circle.
    .values(userIds.toSorted((a, b) => a - b).map((userId) => ({ userId })))
    .onConflictDoNothing();
}

/** Notes for good that a user is gone. Waits for orders that are just being placed, and lets no later one through. */
export async function forgetUser(tx: Queries, userId: number): Promise<void> {
  await tx
    .insert(knownUsers)
    .values({ userId, deleted: true })
    .onConflictDoUpdate({ target: knownUsers.userId, set: { deleted: true } });
}

/**
 * Keeps a user from being forgotten until the transaction ends. One of whom nothing is known becomes known: whoever places an
 * order has asked for them.
 * @throws Failure `unknown-user` when they are gone
 */
export async function holdUser(tx: Queries, userId: number): Promise<void> {
  let state = await lockUser(tx, userId);
  if (state === undefined) {
    await rememberUsers(tx, [userId]);
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
