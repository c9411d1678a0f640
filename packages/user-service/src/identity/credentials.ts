import type { Database, Queries } from '@zerda/chassis/database/database';
import { eq, sql } from 'drizzle-orm';
import { type StoredUser, users } from '../store/tables.ts';
import { endSessionsOf } from './sessions.ts';
import { credentials } from './tables.ts';

/** A user, and what is kept of their password. */
export interface Account {
  readonly user: StoredUser;
  /** Undefined for a user who has no password. */
  readonly passwordHash: string | undefined;
}

/** The account of an e-mail address in lower case; undefined when nobody has it. */
export async function findAccount(database: Database, email: string): Promise<Account | undefined> {
  const [found] = await database.read((db) =>
    db
      .select({ user: users, passwordHash: credentials.passwordHash })
      .from(users)
      .leftJoin(credentials, eq(credentials.userId, users.id))
      .where(sql`lower(${users.email}) = ${email}`),
  );
  return found && { user: found.user, passwordHash: found.passwordHash ?? undefined };
}

/** Gives a user a password, in the transaction that has made or locked them, and ends all their sessions. */
export async function setPassword(tx: Queries, userId: number, passwordHash: string): Promise<void> {
  await tx
    .insert(credentials)
    .values({ userId, passwordHash })
    .onConflictDoUpdate({
      target: credentials.userId,
      set: { passwordHash, changedAt: sql`now()` },
    });
  await endSessionsOf(tx, userId);
}

/** Puts the hash of the same password in the place of one with parameters of old, unless it has changed meanwhile. */
export async function renewHash(
  database: Database,
  userId: number,
  before: string,
  after: string,
): Promise<void> {
  await database.write((tx) =>
    tx
      .update(credentials)
      .set({ passwordHash: after })
      .where(sql`${credentials.userId} = ${userId} and ${credentials.passwordHash} = ${before}`),
  );
}
