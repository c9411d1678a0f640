import { setTimeout as wait } from 'node:timers/promises';
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
  /** The database whose commits send events. */
  readonly database: Database;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly email: string;
  readonly password: string;
}

/**
 * Makes sure that there is an admin who can log in. While no admin has a password, the user with that e-mail address gets this one and
 * becomes an admin, and is created when there is none. A user with a password is left as they are: they may have signed up
 * with the address in time. Once an admin has a password nothing happens, so a first admin who was deleted, demoted or renamed does
 * not come back with the next start.
 */
export async function ensureFirstAdmin(options: FirstAdminOptions): Promise<void> {
  const { database, logger, email, password } = options;
  const account = await findAccount(database, { email });
  if (account?.passwordHash !== undefined) {
    if (account.user.role !== 'admin')
      logger.warn('the user of AUTH_ADMIN_EMAIL is not an admin, and is left so');
    return;
  }
  if (await database.read(hasAdminWithPassword)) {
    logger.info('AUTH_ADMIN_EMAIL ignored: another admin can log in');
    return;
  }
  const passwordHash = await hashPassword(password);
  const isSet = await database
    .write(async (tx) => {
      const current = account && (await lockAccount(tx, account.user.id));
      // Another replica, an admin or the user was quicker.
      if (account !== undefined && (current?.user.email !== email || current.passwordHash !== undefined))
        return false;
      const { id, role } = current?.user ?? (await insertUser(tx, { name: adminName, email, role: 'admin' }));
      if (role !== 'admin') await changeUser(tx, id, { role: 'admin' });
      await setPassword(tx, id, passwordHash);
      return true;
    })
    .catch((error: unknown) => {
      if (error instanceof Failure && error.code === 'email-taken') return false;
      throw error;
    });
  if (!isSet) return ensureFirstAdmin(options);
  logger.info('the user of AUTH_ADMIN_EMAIL is an admin who can log in');
}

/** Milliseconds between two attempts while the database is away. */
const retryMs = 2000;

export interface StartFirstAdminOptions extends Omit<FirstAdminOptions, 'email' | 'password'> {
  readonly config: Pick<IdentityConfig, 'AUTH_ADMIN_EMAIL' | 'AUTH_ADMIN_PASSWORD'>;
  readonly issuer: Issuer | undefined;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
}

/**
 * Makes the first admin, where one is named and can log in here, and tries again for as long as the database is away: the service
 * starts without it, too.
 */
export function startFirstAdmin({ config, issuer, lifecycle, ...options }: StartFirstAdminOptions): void {
  const { AUTH_ADMIN_EMAIL: email, AUTH_ADMIN_PASSWORD: password } = config;
  if (issuer === undefined || email === undefined || password === undefined) return;
  const admin = { ...options, email, password };
  const stopping = new AbortController();
  async function tryAgain(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        return await ensureFirstAdmin(admin);
      } catch (error) {
        options.logger.warn({ err: driverError(error).message }, 'the first admin could not be made yet');
        await wait(retryMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }
  const done = tryAgain();
  lifecycle.onShutdown('first admin', () => {
    stopping.abort();
    return done;
  });
}
