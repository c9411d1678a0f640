import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { StoredUser } from '../store/tables.ts';
import { findAccount, renewHash } from './credentials.ts';
import type { LoginLimits } from './login-limits.ts';
import type { PasswordHasher } from './password-hasher.ts';

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
  readonly hasher: PasswordHasher;
  /** Hears how each attempt ended. */
  readonly onOutcome: (outcome: LoginOutcome) => void;
}

/** Ways in which an attempt to log in ends. */
export const loginOutcomes = ['succeeded', 'failed', 'throttled', 'overloaded'] as const;

export type LoginOutcome = (typeof loginOutcomes)[number];

export function createCheckPassword({
  database,
  limits,
  hasher,
  onOutcome,
}: CheckPasswordDependencies): CheckPassword {
  async function check({ email, password, address }: PasswordClaim): Promise<StoredUser> {
    const attempt = { email, address };
    // Before anything that costs more than saying so.
    hasher.requireRoom();
    const account = await findAccount(database, email);
    await limits.begin(attempt, account?.user.id);
    const right = await hasher.verify(account?.passwordHash, password).catch(async (error: unknown) => {
      await limits.withdrawn(attempt);
      throw error;
    });
    if (!right || account?.passwordHash === undefined)
      throw new Failure('login-failed', { headers: challenge });
    await limits.succeeded(attempt, account.user.id);
    if (hasher.isOutdated(account.passwordHash)) {
      await renewHash(database, account.user.id, account.passwordHash, await hasher.hash(password));
    }
    return account.user;
  }

  return async (claim) => {
    try {
      const user = await check(claim);
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
