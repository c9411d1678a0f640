import { createHash, randomBytes } from 'node:crypto';
import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { UserRole } from '@zerda/contracts/users';
import { eq, sql } from 'drizzle-orm';
import { users } from '../store/tables.ts';
import type { KeySecrets } from './key-secrets.ts';
import { keepNewest } from './newest-rows.ts';
import { sessions } from './tables.ts';

/** A session that goes on. */
export interface Session {
  /** The user as they are now. */
  readonly user: { readonly id: number; readonly role: UserRole };
  /** Buys the next one, once. */
  readonly refreshToken: string;
  /** Seconds until the user has to log in again. */
  readonly endsInSeconds: number;
}

/** Sessions: what a login begins, each refresh goes on with, and a logout ends. */
export interface Sessions {
  /** Begins a session in the transaction that has confirmed the password and locked the user. */
  begin(tx: Queries, user: Session['user']): Promise<Session>;
  /**
   * Takes a refresh token and gives the next one.
   * @throws Failure `session-ended` for one that is not good any more; one that was used before ends its session
   */
  refresh(token: string): Promise<Session>;
  /** Ends the session of a refresh token, whether or not it is the newest; nothing happens for one that is unknown. */
  end(token: string): Promise<void>;
}

export interface SessionsOptions {
  readonly database: Database;
  readonly secrets: Pick<KeySecrets, 'successors'>;
  /** Seconds from the login until the user has to log in again, however often they refresh. */
  readonly seconds: number;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds in which a repeat of a refresh is taken for one whose answer got lost; 10,000 by default. */
  readonly repeatMs?: number;
}

/** Sessions that a user has at most; the oldest ends when there are more. */
const mostSessions = 50;

const sessionsOfUser = {
  ...{ table: sessions, userId: sessions.userId },
  ...{ key: sessions.familyHash, at: sessions.createdAt },
};

/** A refresh token: what stays through the session, and what each refresh replaces; 256 bits each. */
const format = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/;

/**
 * A token that was used before ends the session (RFC 9700, section 4.14.2): it has two users, and one has stolen it. But a client that
 * missed the answer sends the same token once more, and is not to be logged out for that. So the next token is derived from the
 * one before by a secret: within seconds, and while nobody has used the next one, the repeat gets the very same next token. There is
 * never more than one token that is good, so that a thief who is as quick still meets the owner at the next refresh.
 */
export function createSessions({
  database,
  secrets,
  seconds,
  logger,
  repeatMs = 10_000,
}: SessionsOptions): Sessions {
  return {
    async begin(tx, { id, role }) {
      const family = randomBytes(32).toString('base64url');
      const token = randomBytes(32).toString('base64url');
      await keepNewest(tx, sessionsOfUser, id, mostSessions - 1);
      await tx.insert(sessions).values({
        familyHash: hashOf(family),
        userId: id,
        tokenHash: hashOf(token),
        expiresAt: sql`now() + make_interval(secs => ${seconds})`,
      });
      return { user: { id, role }, refreshToken: `${family}.${token}`, endsInSeconds: seconds };
    },
    async refresh(given) {
      const [, family, token] = format.exec(given) ?? [];
      // Not one of ours: no reason to ask the database.
      if (family === undefined || token === undefined) throw ended();
      const outcome = await database.write(async (tx) => {
        const found = await lockSession(tx, hashOf(family));
        if (found === undefined) return undefined;
        const { session, user, endsInSeconds, sinceMs } = found;
        const answer = (next: string) => ({ user, refreshToken: `${family}.${next}`, endsInSeconds });
        const [next = '', ...others] = secrets.successors(token);
        const given = hashOf(token);
        if (given === session.tokenHash) {
          await tx
            .update(sessions)
            .set({ tokenHash: hashOf(next), previousHash: given, rotatedAt: sql`now()` })
            .where(eq(sessions.familyHash, session.familyHash));
          return answer(next);
        }
        if (given === session.previousHash && sinceMs <= repeatMs) {
          const same = [next, ...others].find((one) => hashOf(one) === session.tokenHash);
          if (same !== undefined) return answer(same);
        }
        await tx.delete(sessions).where(eq(sessions.familyHash, session.familyHash));
        return { reusedBy: session.userId };
      });
      if (outcome === undefined) throw ended();
      if ('reusedBy' in outcome) {
        logger.warn({ user_id: outcome.reusedBy }, 'a refresh token was used twice: its session has ended');
        throw ended();
      }
      return outcome;
    },
    async end(given) {
      const [, family] = format.exec(given) ?? [];
      if (family === undefined) return;
      await database.write((tx) => tx.delete(sessions).where(eq(sessions.familyHash, hashOf(family))));
    },
  };
}

/** Ends all sessions of a user, in the transaction that makes it necessary. */
export async function endSessionsOf(tx: Queries, userId: number): Promise<void> {
  await tx.delete(sessions).where(eq(sessions.userId, userId));
}

async function lockSession(tx: Queries, familyHash: string) {
  const [found] = await tx
    .select({
      session: sessions,
      user: { id: users.id, role: users.role },
      endsInSeconds: sql<number>`floor(extract(epoch from ${sessions.expiresAt} - now()))::int4`,
      sinceMs: sql<number>`(extract(epoch from now() - ${sessions.rotatedAt}) * 1000)::float8`,
    })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .where(eq(sessions.familyHash, familyHash))
    .for('update', { of: sessions });
  return found === undefined || found.endsInSeconds < 1 ? undefined : found;
}

/** Of something with 256 random bits a plain hash tells nothing. */
function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

function ended(): Failure {
  return new Failure('session-ended', { headers: challenge });
}
