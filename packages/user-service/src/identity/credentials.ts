import type { Database, Queries } from '@zerda/chassis/database/database';
import { and, eq, type SQL, sql } from 'drizzle-orm';
import type { User } from '../domain/user.ts';
import { users } from '../store/tables.ts';
import { endSessionsOf } from './sessions.ts';
import { credentials, knownAddresses } from './tables.ts';

/** A user and the hash of their password. */
export interface Account {
  readonly user: User;
  /** Undefined if the user has no password. */
  readonly passwordHash: string | undefined;
  /** Whether the user has logged in from the address before. */
  readonly known: boolean;
}

/** Identifies a user by id or by e-mail address in lower case. */
export type AccountName = { readonly userId: number } | { readonly email: string };

/**
 * Returns the account; undefined if it does not exist. Uses one statement, so that its duration does not reveal which part is missing.
 * @param addressKey key of the client address, from `LoginLimits.addressKey`
 */
export async function findAccount(
  database: Database,
  name: AccountName,
  addressKey = '',
): Promise<Account | undefined> {
  const isNamed: SQL =
    'userId' in name ? eq(users.id, name.userId) : eq(sql`lower(${users.email})`, name.email);
  const [row] = await database.query((db) =>
    db
      .select({
        user: users,
        passwordHash: credentials.passwordHash,
        known: sql<boolean>`${knownAddresses.userId} is not null`,
      })
      .from(users)
      .leftJoin(credentials, eq(credentials.userId, users.id))
      .leftJoin(
        knownAddresses,
        and(eq(knownAddresses.userId, users.id), eq(knownAddresses.address, addressKey)),
      )
      .where(isNamed),
  );
  return row && { ...row, passwordHash: row.passwordHash ?? undefined };
}

/**
 * Locks a user until the transaction ends and returns the current password hash. Every change of a password, an e-mail address or a
 * role locks the user first. Returns undefined if the user does not exist.
 */
export async function lockAccount(tx: Queries, userId: number): Promise<Omit<Account, 'known'> | undefined> {
  const [user] = await tx.select().from(users).where(eq(users.id, userId)).for('no key update');
  // A separate statement, because a join would return the password hash from before the wait for the lock.
  const [credential] = await tx
    .select({ passwordHash: credentials.passwordHash })
    .from(credentials)
    .where(eq(credentials.userId, userId));
  return user && { user, passwordHash: credential?.passwordHash };
}

/** Returns whether an admin with a password exists. */
export async function hasAdminWithPassword(db: Queries): Promise<boolean> {
  const rows = await db
    .select({ id: users.id })
    .from(users)
    .innerJoin(credentials, eq(credentials.userId, users.id))
    .where(eq(users.role, 'admin'))
    .limit(1);
  return rows.length > 0;
}

/** Sets the password of a user and ends all their sessions. The transaction must have created or locked the user. */
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

/** Stores a new hash of the same password with the current parameters. The transaction must have locked the user. */
export async function renewHash(tx: Queries, userId: number, passwordHash: string): Promise<void> {
  await tx.update(credentials).set({ passwordHash }).where(eq(credentials.userId, userId));
}
