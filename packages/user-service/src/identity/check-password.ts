import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { StoredUser } from '../store/tables.ts';
import { findAccount, renewHash } from './credentials.ts';
import type { LoginLimits } from './login-limits.ts';
import { hashPassword, isOutdated, isPassword } from './password-hash.ts';
import type { PasswordWork } from './password-work.ts';

/** Somebody who says who they are, by a password. */
export interface PasswordClaim {
  readonly email: string;
  readonly password: string;
  /** Address that they say it from. */
  readonly address: string;
}

/**
 * Finds out whether somebody is who they say.
 * @throws Failure `login-failed`, the same whatever was wrong and after the same time; `login-throttled`, `login-overloaded`
 */
export type CheckPassword = (claim: PasswordClaim) => Promise<StoredUser>;

export interface CheckPasswordDependencies {
  readonly database: Database;
  readonly limits: LoginLimits;
  readonly passwordWork: PasswordWork;
  /** Hears how each attempt ended. */
  readonly onOutcome: (outcome: LoginOutcome) => void;
}

/** Ways in which an attempt to log in ends. */
export const loginOutcomes = ['succeeded', 'failed', 'throttled', 'overloaded'] as const;

export type LoginOutcome = (typeof loginOutcomes)[number];

export function createCheckPassword({
  database,
  limits,
  passwordWork,
  onOutcome,
}: CheckPasswordDependencies): CheckPassword {
  async function check({ email, password, address }: PasswordClaim): Promise<StoredUser> {
    const attempt = { email, address };
    const account = await findAccount(database, email);
    await limits.begin(attempt, account?.user.id);
    const right = await isPassword(password, account?.passwordHash);
    if (!right || account?.passwordHash === undefined)
      throw new Failure('login-failed', { headers: challenge });
    await limits.succeeded(attempt, account.user.id);
    if (isOutdated(account.passwordHash)) {
      await renewHash(database, account.user.id, account.passwordHash, await hashPassword(password));
    }
    return account.user;
  }

  return async (claim) => {
    try {
      // All of it in turn: what it asks of the database would keep others waiting, too.
      const user = await passwordWork.run(() => check(claim));
      onOutcome('succeeded');
      return user;
    } catch (error) {
      const outcome = error instanceof Failure ? outcomes[error.code as keyof typeof outcomes] : undefined;
      if (outcome !== undefined) onOutcome(outcome);
      throw error;
    }
  };
}

const outcomes = {
  'login-failed': 'failed',
  'login-throttled': 'throttled',
  'login-overloaded': 'overloaded',
} as const;
