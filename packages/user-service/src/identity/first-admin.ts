import { setTimeout as wait } from 'node:timers/promises';
import { auditAfterCommit } from '@zerda/chassis/audit/audit-after-commit';
import type { Database } from '@zerda/chassis/database/database';
import { driverError } from '@zerda/chassis/database/database-errors';
import { Failure } from '@zerda/chassis/failure';
import type { Lifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import type { Logger } from '@zerda/chassis/logging/logger';
import { changeUser, insertUser } from '../store/user-store.ts';
import { findAccount, hasAdminWithPassword, lockAccount, setPassword } from './credentials.ts';
import { adminName } from './identity-variables.ts';
import type { IdentityConfig, Issuer } from './open-issuer.ts';
import { hashPassword } from './password-hash.ts';

export interface FirstAdminOptions {
  /** Database that wakes up the event relay after each commit. */
  readonly database: Database;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly email: string;
  readonly password: string;
}

/**
 * Ensures that an admin can log in. If no admin has a password, the user with this e-mail address becomes an admin with this
 * password; a missing user is created. A user who already has a password is not changed, because they may have signed up with the
 * address. If any admin has a password, nothing changes, so a deleted, demoted or renamed first admin is not restored at the next start.
 */
export async function ensureFirstAdmin(options: FirstAdminOptions): Promise<void> {
  const { database, logger, email, password } = options;
  const account = await findAccount(database, { email });
  if (account?.passwordHash !== undefined) {
    if (account.user.role !== 'admin') logger.warn('AUTH_ADMIN_EMAIL ignored: its user is not an admin');
    return;
  }
  if (await database.query(hasAdminWithPassword)) {
    logger.info('AUTH_ADMIN_EMAIL ignored: another admin can log in');
    return;
  }
  const passwordHash = await hashPassword(password);
  const isSet = await database
    .transaction(async (tx) => {
      const current = account && (await lockAccount(tx, account.user.id));
      // Another replica, an admin or the user changed the account first.
      if (account !== undefined && (current?.user.email !== email || current.passwordHash !== undefined))
        return false;
      const { id, role } = current?.user ?? (await insertUser(tx, { name: adminName, email, role: 'admin' }));
      if (role !== 'admin') await changeUser(tx, id, { role: 'admin' });
      await setPassword(tx, id, passwordHash);
      auditAfterCommit(tx, [
        account === undefined
          ? { action: 'user.create', entityId: id, newRole: 'admin' }
          : { action: 'user.update', entityId: id, changed: ['role', 'password'], newRole: 'admin' },
      ]);
      return true;
    })
    .catch((error: unknown) => {
      if (error instanceof Failure && error.code === 'email-taken') return false;
      throw error;
    });
  if (!isSet) return ensureFirstAdmin(options);
  logger.info('first admin set up');
}

/** Milliseconds between attempts while the database is unavailable. */
const retryMs = 2000;

export interface StartFirstAdminOptions extends Omit<FirstAdminOptions, 'email' | 'password'> {
  readonly config: Pick<IdentityConfig, 'AUTH_ADMIN_EMAIL' | 'AUTH_ADMIN_PASSWORD'>;
  readonly issuer: Issuer | undefined;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

/**
 * Runs `ensureFirstAdmin` in the background if a first admin is configured and this service is the issuer. Retries while the database
 * is unavailable; the service starts without waiting for it.
 */
export function startFirstAdmin({ config, issuer, lifecycle, ...options }: StartFirstAdminOptions): void {
  const { AUTH_ADMIN_EMAIL: email, AUTH_ADMIN_PASSWORD: password } = config;
  if (issuer === undefined || email === undefined || password === undefined) return;
  const admin = { ...options, email, password };
  const stopping = new AbortController();
  async function retryUntilDone(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        return await ensureFirstAdmin(admin);
      } catch (error) {
        options.logger.warn({ err: driverError(error).message }, 'first admin creation failed');
        await wait(retryMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }
  const done = retryUntilDone();
  lifecycle.onShutdown('first admin', () => {
    stopping.abort();
    return done;
  });
}
