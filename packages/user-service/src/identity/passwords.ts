import { addAuditDetails } from '@zerda/chassis/audit/audit-log';
import { challenge } from '@zerda/chassis/auth/bearer';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import type { User } from '../domain/user.ts';
import { type Account, type AccountName, findAccount, lockAccount, renewHash } from './credentials.ts';
import type { LimitedAction, LoginLimits } from './login-limits.ts';
import { hashPassword, isOutdated, isPassword } from './password-hash.ts';
import type { PasswordQueue, PasswordTurn } from './password-queue.ts';
import { createReturningClients } from './returning-clients.ts';

/** An account and the password that a client sent for it. */
export interface PasswordClaim {
  readonly account: AccountName;
  readonly password: string;
  /** Address of the client. */
  readonly address: string;
}

/**
 * Locks the user in the transaction that acts on a checked password, verifies that the password has not changed since the check, and
 * returns the current user.
 * @throws CredentialChangedError if the password was changed or the user was deleted since the check
 */
export type ConfirmPassword = (tx: Queries) => Promise<User>;

/** Checks and hashes passwords through the queue. */
export interface Passwords {
  /**
   * Logs a user in. The password is checked before the transaction of `act` and confirmed in it.
   * @throws Failure `login-failed`, with the same response and duration for every cause; `login-throttled`, `login-overloaded`
   */
  logIn<T>(
    claim: PasswordClaim & { readonly account: { readonly email: string } },
    act: (tx: Queries, user: User) => Promise<T>,
  ): Promise<T>;
  /**
   * Runs `act` for an authenticated user after checking the current password, which protects against stolen access tokens.
   * @param change.newPassword hashed in the same turn, after the current password was verified
   * @param change.actions counted after that, so that a stolen token cannot exhaust the limits of the user
   * @param act must open a transaction and call `confirm` in it
   * @throws as `logIn`
   */
  reauthenticate<T>(
    claim: PasswordClaim & { readonly account: { readonly userId: number } },
    change: { readonly newPassword: string | undefined; readonly actions: readonly LimitedAction[] },
    act: (confirm: ConfirmPassword, newHash: string | undefined) => Promise<T>,
  ): Promise<T>;
  /** Hashes a new password in its turn. @throws Failure `login-overloaded` */
  hash(password: string, turn: PasswordTurn): Promise<string>;
  /** Rejects a new password that the queue cannot accept, before any other work. @throws Failure `login-overloaded` */
  requireCapacity(turn: PasswordTurn): void;
}

/** Outcomes of a password check. */
export const loginOutcomes = ['succeeded', 'failed', 'throttled', 'overloaded'] as const;

export type LoginOutcome = (typeof loginOutcomes)[number];

export interface PasswordsDependencies {
  readonly database: Database;
  readonly limits: LoginLimits;
  readonly queue: Pick<PasswordQueue, 'run' | 'requireCapacity' | 'isFullForClient'>;
  /** Called with the outcome of each check. */
  readonly onOutcome: (outcome: LoginOutcome) => void;
}

/** The password or the user changed between the check and the transaction. */
class CredentialChangedError extends Error {}

export function createPasswords({ database, limits, queue, onOutcome }: PasswordsDependencies): Passwords {
  const returning = createReturningClients();

  /** Checks a password when its turn comes and returns the function that confirms it. */
  async function check(
    { account: name, password, address }: PasswordClaim,
    turnOf: (account: Account | undefined) => PasswordTurn,
    afterCheck: () => Promise<void> = async () => undefined,
  ): Promise<ConfirmPassword> {
    const addressKey = limits.addressKey(address);
    const account = await findAccount(database, name, addressKey);
    if (account !== undefined) addAuditDetails({ entityId: account.user.id });
    const attempt = {
      account: account?.user.id ?? ('email' in name ? name.email : name.userId),
      address,
      known: account?.known ?? false,
    };
    // A throttled attempt does not enter the queue.
    limits.requireAttemptAllowed(attempt);
    return queue.run(turnOf(account), async () => {
      await limits.begin(attempt);
      const isCorrect = await isPassword(password, account?.passwordHash);
      if (account?.passwordHash === undefined || !isCorrect) throw loginFailed();
      const { user, passwordHash: checkedHash } = account;
      const renewedHash = isOutdated(checkedHash) ? await hashPassword(password) : undefined;
      await afterCheck();
      return async (tx) => {
        const current = await lockAccount(tx, user.id);
        if (current === undefined || current.passwordHash !== checkedHash) throw new CredentialChangedError();
        await limits.succeed(tx, { ...attempt, account: user.id });
        if (renewedHash !== undefined) await renewHash(tx, user.id, renewedHash);
        return current.user;
      };
    });
  }

  /** Checks and acts. Retries once if the password changed in between, because the hash of the same password may have been renewed. */
  async function runConfirmed<T>(
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
      return runConfirmed(
        async () => {
          let known: PasswordTurn | undefined;
          try {
            queue.requireCapacity(client, 'known-login', kind);
            const rejected = returning.rejectedTurn(attempt);
            // Spares the account query for a flood of one user from many known addresses.
            if (rejected && !queue.isFullForClient(rejected))
              queue.requireCapacity(rejected.client, rejected.kind);
            const confirm = await check(claim, (account) => {
              if (account?.known) known = { kind: 'known-login', client: userClient(account.user.id) };
              if (known && queue.isFullForClient(known)) known = undefined;
              return known ?? { kind, client };
            });
            returning.forget(attempt);
            return confirm;
          } catch (error) {
            if (isOverload(error)) returning.recordRejection(attempt, known);
            throw error;
          }
        },
        (confirm) => database.transaction(async (tx) => act(tx, await confirm(tx))),
      );
    },
    async reauthenticate(claim, { newPassword, actions }, act) {
      const { userId } = claim.account;
      for (const action of actions) limits.requireActionAllowed(action, { userId });
      let newHash: string | undefined;
      const turn = { kind: 'new-password', client: userClient(userId) } as const;
      return runConfirmed(
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
    requireCapacity: ({ kind, client }) => queue.requireCapacity(client, kind),
  };
}

/** Returns the queue client of a user, which does not depend on the address. */
export function userClient(userId: number): string {
  return `user ${userId}`;
}

function isOverload(error: unknown): boolean {
  return error instanceof Failure && error.code === 'login-overloaded';
}

function loginFailed(): Failure {
  return new Failure('login-failed', { challenge });
}

const outcomes = {
  'login-failed': 'failed',
  'login-throttled': 'throttled',
  'login-overloaded': 'overloaded',
} as const;
