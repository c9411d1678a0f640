import { createHash, randomBytes } from 'node:crypto';
import { auditAfterCommit } from '@zerda/chassis/audit/audit-after-commit';
import { addAuditDetails } from '@zerda/chassis/audit/audit-log';
import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { UserRole } from '@zerda/contracts/user-service/users';
import { eq, sql } from 'drizzle-orm';
import { users } from '../store/tables.ts';
import type { KeySecrets } from './key-secrets.ts';
import { deleteOlderRows } from './newest-rows.ts';
import { sessions } from './tables.ts';

/** A session after a login or a refresh. */
export interface Session {
  /** The current state of the user. */
  readonly user: { readonly id: number; readonly role: UserRole };
  /** Can be exchanged once for the next refresh token. */
  readonly refreshToken: string;
  /** Seconds until the session expires. */
  readonly endsInSeconds: number;
}

/** Login sessions. */
export interface Sessions {
  /** Starts a session. The transaction must have confirmed the password and locked the user. */
  begin(tx: Queries, user: Session['user']): Promise<Session>;
  /**
   * Exchanges a refresh token for the next one.
   * @throws Failure `session-ended` for an invalid token; a reused token also ends its session
   */
  refresh(token: string): Promise<Session>;
  /**
   * Ends the session of a refresh token, even if the token is not the latest. Returns the id of its user; undefined for an unknown token,
   * which is ignored.
   */
  end(token: string): Promise<number | undefined>;
}

export interface SessionsOptions {
  readonly database: Database;
  readonly secrets: Pick<KeySecrets, 'successors'>;
  /** Lifetime of a session in seconds. Refreshing does not extend it. */
  readonly seconds: number;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds in which a repeated refresh is treated as a retry after a lost response; 10,000 by default. */
  readonly repeatWindowMs?: number;
}

/** Maximum number of sessions per user; a further login ends the oldest session. */
const maxSessions = 50;

const sessionsOfUser = {
  table: sessions,
  userId: sessions.userId,
  key: sessions.familyHash,
  at: sessions.createdAt,
};

/** Format of a refresh token: the constant part of the session and the part that each refresh replaces, 256 bits each. */
const format = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/;

/**
 * Creates the sessions. Reuse of a refresh token ends the session, because it indicates theft (RFC 9700, section 4.14.2). A client
 * that missed the response can repeat the refresh within seconds: the next token is derived from the previous one with a secret, so
 * the repeat returns the same next token, as long as that token is unused. Only one token is valid at a time, so a thief who uses
 * this window is detected at the next refresh.
 */
export function createSessions({
  database,
  secrets,
  seconds,
  logger,
  repeatWindowMs = 10_000,
}: SessionsOptions): Sessions {
  return {
    async begin(tx, { id, role }) {
      const family = randomBytes(32).toString('base64url');
      const token = randomBytes(32).toString('base64url');
      await deleteOlderRows(tx, sessionsOfUser, id, maxSessions - 1);
      await tx.insert(sessions).values({
        familyHash: hashOf(family),
        userId: id,
        tokenHash: hashOf(token),
        expiresAt: sql`now() + make_interval(secs => ${seconds})`,
      });
      return { user: { id, role }, refreshToken: `${family}.${token}`, endsInSeconds: seconds };
    },
    async refresh(refreshToken) {
      const [, family, token] = format.exec(refreshToken) ?? [];
      // A malformed token needs no query.
      if (family === undefined || token === undefined) throw sessionEnded();
      const outcome = await database.transaction(async (tx) => {
        const locked = await lockSession(tx, hashOf(family));
        if (locked === undefined) return undefined;
        const { session, user, endsInSeconds, sinceMs } = locked;
        const response = (next: string) => ({ user, refreshToken: `${family}.${next}`, endsInSeconds });
        const [next = '', ...others] = secrets.successors(token);
        const tokenHash = hashOf(token);
        if (tokenHash === session.tokenHash) {
          await tx
            .update(sessions)
            .set({ tokenHash: hashOf(next), previousHash: tokenHash, rotatedAt: sql`now()` })
            .where(eq(sessions.familyHash, session.familyHash));
          return response(next);
        }
        if (tokenHash === session.previousHash && sinceMs <= repeatWindowMs) {
          const current = [next, ...others].find((candidate) => hashOf(candidate) === session.tokenHash);
          if (current !== undefined) return response(current);
        }
        await tx.delete(sessions).where(eq(sessions.familyHash, session.familyHash));
        auditAfterCommit(tx, [{ action: 'session.revoke', entityId: session.userId }]);
        return { reusedBy: session.userId };
      });
      if (outcome === undefined) throw sessionEnded();
      if ('reusedBy' in outcome) {
        addAuditDetails({ entityId: outcome.reusedBy });
        logger.warn({ user_id: outcome.reusedBy }, 'session ended: refresh token reused');
        throw sessionEnded();
      }
      return outcome;
    },
    async end(refreshToken) {
      const [, family] = format.exec(refreshToken) ?? [];
      if (family === undefined) return undefined;
      const [ended] = await database.transaction((tx) =>
        tx
          .delete(sessions)
          .where(eq(sessions.familyHash, hashOf(family)))
          .returning({ userId: sessions.userId }),
      );
      return ended?.userId;
    },
  };
}

/** Ends all sessions of a user. */
export async function endSessionsOf(tx: Queries, userId: number): Promise<void> {
  await tx.delete(sessions).where(eq(sessions.userId, userId));
}

async function lockSession(tx: Queries, familyHash: string) {
  const [locked] = await tx
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
  return locked === undefined || locked.endsInSeconds < 1 ? undefined : locked;
}

/** An unsalted hash is sufficient, because the secret has 256 random bits. */
function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

function sessionEnded(): Failure {
  return new Failure('session-ended', { challenge });
}
