import type { Database, Queries } from '@zerda/chassis/database/database';
import { and, eq, type SQL, sql } from 'drizzle-orm';
import { type StoredUser, users } from '../store/tables.ts';
import { endSessionsOf } from './sessions.ts';
import { credentials, knownAddresses } from './tables.ts';

/** A user, and what is stored of their password. */
export interface Account {
  readonly user: StoredUser;
  /** Undefined for a user who has no password. */
  readonly passwordHash: string | undefined;
  /** Whether the user has logged in from the address before. */
  readonly known: boolean;
}

/** Names a user, by id or by e-mail address in lower case. */
export type AccountName = { readonly userId: number } | { readonly email: string };

/**
 * The account of that name; undefined when there is none. One statement, so its duration does not depend on which part is missing.
 * @param addressKey key of the client's address, as login limits have it
 */
export async function findAccount(
  database: Database,
  name: AccountName,
  addressKey = '',
): Promise<Account | undefined> {
  const isNamed: SQL =
    'userId' in name ? eq(users.id, name.userId) : eq(sql`lower(${users.email})`, name.email);
  const [row] = await database.read((db) =>
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
 * Locks a user until the transaction ends, and reads their password as it is then: every change of a password, an e-mail address or
 * a role locks the user first. Undefined when the user does not exist.
 */
export async function lockAccount(tx: Queries, userId: number): Promise<Omit<Account, 'known'> | undefined> {
  const [user] = await tx.select().from(users).where(eq(users.id, userId)).for('no key update');
  // A second statement: a join would show the password as it was before the wait for the lock.
  const [credential] = await tx
    .select({ passwordHash: credentials.passwordHash })
    .from(credentials)
    .where(eq(credentials.userId, userId));
  return user && { user, passwordHash: credential?.passwordHash };
}

/** Whether an admin can log in. */
export async function hasAdminWithPassword(db: Queries): Promise<boolean> {
  const rows = await db
    .select({ id: users.id })
    .from(users)
    .innerJoin(credentials, eq(credentials.userId, users.id))
    .where(eq(users.role, 'admin'))
    .limit(1);
  return rows.length > 0;
}

/** Sets the password of a user whom the transaction has created or locked, and ends all their sessions. */
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

/** Replaces the hash of a password by one of the same password with current parameters. The transaction has locked the user. */
export async function renewHash(tx: Queries, userId: number, passwordHash: string): Promise<void> {
  await tx.update(credentials).set({ passwordHash }).where(eq(credentials.userId, userId));
}
