import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { StoredUser } from '../store/tables.ts';
import { type Account, type AccountName, findAccount, lockAccount, renewHash } from './credentials.ts';
import type { LimitedAction, LoginLimits } from './login-limits.ts';
import { hashPassword, isOutdated, isPassword } from './password-hash.ts';
import type { PasswordQueue, PasswordTurn } from './password-queue.ts';
import { createReturningClients } from './returning-clients.ts';

/** A password that is claimed to be that of an account. */
export interface PasswordClaim {
  readonly account: AccountName;
  readonly password: string;
  /** Address of the client. */
  readonly address: string;
}

/**
 * Confirms, in the transaction that acts on a password, that it is still the one that was checked, and returns the user as they are
 * now, locked until the transaction ends.
 * @throws CredentialChangedError when the password has changed or the user was deleted since the check
 */
export type ConfirmPassword = (tx: Queries) => Promise<StoredUser>;

/** Checks and hashes passwords, each in its turn. */
export interface Passwords {
  /**
   * Acts for a user who logs in. The password is checked before, and confirmed in, the transaction of `act`.
   * @throws Failure `login-failed`, the same whatever was wrong and after the same time; `login-throttled`, `login-overloaded`
   */
  logIn<T>(
    claim: PasswordClaim & { readonly account: { readonly email: string } },
    act: (tx: Queries, user: StoredUser) => Promise<T>,
  ): Promise<T>;
  /**
   * Acts for a user who proves by the current password that an access token is in their own hands.
   * @param change.newPassword is hashed in the same turn, once the current password was right
   * @param change.actions are counted then, so that a thief of the token cannot use up the user's limits
   * @param act opens its transaction and calls `confirm` in it
   * @throws as `logIn`
   */
  reauthenticate<T>(
    claim: PasswordClaim & { readonly account: { readonly userId: number } },
    change: { readonly newPassword: string | undefined; readonly actions: readonly LimitedAction[] },
    act: (confirm: ConfirmPassword, newHash: string | undefined) => Promise<T>,
  ): Promise<T>;
  /** Hashes a new password in its turn. @throws Failure `login-overloaded` */
  hash(password: string, turn: PasswordTurn): Promise<string>;
  /** Refuses a new password that has no place in the queue, before anything is spent on it. @throws Failure `login-overloaded` */
  requirePlace(turn: PasswordTurn): void;
}

/** Ways in which a check of a password ends. */
export const loginOutcomes = ['succeeded', 'failed', 'throttled', 'overloaded'] as const;

export type LoginOutcome = (typeof loginOutcomes)[number];

export interface PasswordsDependencies {
  readonly database: Database;
  readonly limits: LoginLimits;
  readonly queue: Pick<PasswordQueue, 'run' | 'requirePlace' | 'isTakenByOthers'>;
  /** Is called with the outcome of each check. */
  readonly onOutcome: (outcome: LoginOutcome) => void;
}

/** The password or the user has changed between the check and the transaction that acts on it. */
class CredentialChangedError extends Error {}

export function createPasswords({ database, limits, queue, onOutcome }: PasswordsDependencies): Passwords {
  const returning = createReturningClients();

  /** Checks a password, once it is its turn, and returns what confirms it. */
  async function check(
    { account: name, password, address }: PasswordClaim,
    turnOf: (account: Account | undefined) => PasswordTurn,
    afterwards: () => Promise<void> = async () => undefined,
  ): Promise<ConfirmPassword> {
    const addressKey = limits.addressKey(address);
    const account = await findAccount(database, name, addressKey);
    const attempt = {
      account: account?.user.id ?? ('email' in name ? name.email : name.userId),
      address,
      known: account?.known ?? false,
    };
    // A throttled attempt takes no place in the queue.
    limits.requireOpen(attempt);
    return queue.run(turnOf(account), async () => {
      await limits.begin(attempt);
      const right = await isPassword(password, account?.passwordHash);
      if (account?.passwordHash === undefined || !right) throw loginFailed();
      const { user, passwordHash: checkedHash } = account;
      const renewedHash = isOutdated(checkedHash) ? await hashPassword(password) : undefined;
      await afterwards();
      return async (tx) => {
        const current = await lockAccount(tx, user.id);
        if (current === undefined || current.passwordHash !== checkedHash) throw new CredentialChangedError();
        await limits.succeed(tx, { ...attempt, account: user.id });
        if (renewedHash !== undefined) await renewHash(tx, user.id, renewedHash);
        return current.user;
      };
    });
  }

  /** Checks and acts, and once more when the password changed in between: the hash of the same password may have been renewed. */
  async function confirmed<T>(
    checkOnce: () => Promise<ConfirmPassword>,
    act: (confirm: ConfirmPassword) => Promise<T>,
  ): Promise<T> {
    for (let attemptsLeft = 2; ; attemptsLeft -= 1) {
      try {
        const confirm = await checkOnce();
        onOutcome('succeeded');
        return await act(confirm);
      } catch (error) {
        const outcome = error instanceof Failure ? outcomes[error.code as keyof typeof outcomes] : undefined;
        if (outcome !== undefined) onOutcome(outcome);
        if (!(error instanceof CredentialChangedError)) throw error;
        if (attemptsLeft > 1) continue;
        onOutcome('failed');
        throw loginFailed();
      }
    }
  }

  return {
    async logIn(claim, act) {
      const client = limits.addressKey(claim.address);
      const attempt = `${client} ${claim.account.email}`;
      const kind = returning.hasReturned(attempt) ? 'returning-login' : 'login';
      return confirmed(
        async () => {
          try {
            queue.requirePlace(client, 'known-login', kind);
            const confirm = await check(claim, (account) => {
              const turn: PasswordTurn = { kind, client };
              if (!account?.known) return turn;
              const known: PasswordTurn = { kind: 'known-login', client: userClient(account.user.id) };
              return queue.isTakenByOthers(known) ? turn : known;
            });
            returning.forget(attempt);
            return confirm;
          } catch (error) {
            if (isOverload(error)) returning.refused(attempt);
            throw error;
          }
        },
        (confirm) => database.write(async (tx) => act(tx, await confirm(tx))),
      );
    },
    async reauthenticate(claim, { newPassword, actions }, act) {
      const { userId } = claim.account;
      for (const action of actions) limits.requireFree(action, { userId });
      let newHash: string | undefined;
      const turn = { kind: 'new-password', client: userClient(userId) } as const;
      return confirmed(
        () =>
          check(
            claim,
            () => turn,
            async () => {
              for (const action of actions) await limits.count(action, { userId });
              newHash = newPassword === undefined ? undefined : await hashPassword(newPassword);
            },
          ),
        (confirm) => act(confirm, newHash),
      );
    },
    hash: (password, turn) => queue.run(turn, () => hashPassword(password)),
    requirePlace: ({ kind, client }) => queue.requirePlace(client, kind),
  };
}

/** Identifies a user to the queue, from whatever addresses the requests come. */
export function userClient(userId: number): string {
  return `user ${userId}`;
}

function isOverload(error: unknown): boolean {
  return error instanceof Failure && error.code === 'login-overloaded';
}

function loginFailed(): Failure {
  return new Failure('login-failed', { headers: challenge });
}

const outcomes = {
  'login-failed': 'failed',
  'login-throttled': 'throttled',
  'login-overloaded': 'overloaded',
} as const;
