import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import { eq, sql } from 'drizzle-orm';
import { LRUCache } from 'lru-cache';
import type { KeySecrets } from './key-secrets.ts';
import { deleteOlderRows } from './newest-rows.ts';
import { knownAddresses, loginAttempts } from './tables.ts';

/** An attempt to log in or to confirm a password. */
export interface LoginAttempt {
  /** User id, or the e-mail address if no user has it. */
  readonly account: number | string;
  /** Address of the client. */
  readonly address: string;
  /** Whether this user has logged in from this address before. */
  readonly known: boolean;
}

/** Rate limits for password guessing and for the actions of authenticated callers. */
export interface LoginLimits {
  /**
   * Counts an attempt before its password is checked, so that concurrent attempts are counted too.
   * @throws Failure `login-throttled` if the limit is exceeded; the attempt then does not count
   */
  begin(attempt: LoginAttempt): Promise<void>;
  /** Checks without counting. @throws Failure `login-throttled` if this process knows that the limit is exceeded */
  requireAttemptAllowed(attempt: LoginAttempt): void;
  /**
   * Reverts the count of a successful attempt and records the address as a known address of the user. Runs in the transaction that
   * acts on the correct password; the caller must have locked the user.
   */
  succeed(tx: Queries, attempt: LoginAttempt & { readonly account: number }): Promise<void>;
  /** Counts an action regardless of its outcome. @throws Failure `login-throttled` if the limit is exceeded */
  count(action: LimitedAction, by: LimitedBy): Promise<void>;
  /** Checks without counting. @throws Failure `login-throttled` if this process knows that the limit is exceeded */
  requireActionAllowed(action: LimitedAction, by: LimitedBy): void;
  /** Returns the keyed hash that represents an address in the database. */
  addressKey(address: string): string;
}

/** A rate limit: `burst` at once, then one every `seconds`. */
export interface LoginLimit {
  readonly burst: number;
  readonly seconds: number;
}

/** Actions with a separate limit. */
export type LimitedAction = 'new-password' | 'new-email' | 'sign-up';

/** Subject of a limit: a user or the network of an address. */
export type LimitedBy = { readonly userId: number } | { readonly address: string };

type LimitName = 'pair' | 'address' | 'account' | LimitedAction;

/**
 * `pair` limits attempts for one account from one address, `address` all attempts from an address (a household or an office), and
 * `account` all attempts for an account. For a known address of the user only `pair` applies, so that guesses from other clients do
 * not lock the user out. A change of the e-mail address reveals whether another user has it, so it is limited to three a day.
 */
const standardLimits: Readonly<Record<LimitName, LoginLimit>> = {
  pair: { burst: 5, seconds: 15 },
  address: { burst: 30, seconds: 2 },
  account: { burst: 10, seconds: 10 },
  'new-password': { burst: 5, seconds: 600 },
  'new-email': { burst: 3, seconds: 28_800 },
  'sign-up': { burst: 20, seconds: 30 },
};

/** Maximum number of keys over their limit in memory. Their requests are rejected without a query. */
const maxThrottled = 10_000;

export interface LoginLimitsOptions {
  readonly database: Database;
  readonly secrets: Pick<KeySecrets, 'fingerprint'>;
}

export function createLoginLimits({ database, secrets }: LoginLimitsOptions): LoginLimits {
  const throttled = new LRUCache<string, true>({ max: maxThrottled });

  // The database stores only keyed hashes of addresses and accounts.
  const keyOf = (name: string, value: string | number): string => secrets.fingerprint(`${name} ${value}`);
  const addressKey = (address: string): string => keyOf('address', networkOf(address));

  /** Returns the counters of an attempt in the order of their keys, which prevents deadlocks between attempts. */
  function countersOf({ account, address, known }: LoginAttempt): { name: LimitName; key: string }[] {
    const pair = { name: 'pair', key: keyOf('pair', `${networkOf(address)} ${account}`) } as const;
    if (known) return [pair];
    const counters = [
      pair,
      { name: 'address', key: addressKey(address) } as const,
      { name: 'account', key: keyOf('account', account) } as const,
    ];
    return counters.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** @throws Failure `login-throttled`, which rolls back the counts of the transaction */
  async function countOrReject(tx: Queries, name: LimitName, key: string): Promise<void> {
    const limit = standardLimits[name];
    if (await tryCount(tx, key, limit)) return;
    const seconds = await secondsUntilFree(tx, key, limit);
    throttled.set(key, true, { ttl: seconds * 1000 });
    throw tooMany(seconds);
  }

  const actionKey = (action: LimitedAction, by: LimitedBy): string =>
    keyOf(action, 'userId' in by ? by.userId : networkOf(by.address));

  function requireNoneThrottled(keys: readonly string[]): void {
    const leftMs = Math.max(0, ...keys.map((key) => throttled.getRemainingTTL(key)));
    if (leftMs > 0) throw tooMany(Math.ceil(leftMs / 1000));
  }

  return {
    addressKey,
    requireAttemptAllowed: (attempt) => requireNoneThrottled(countersOf(attempt).map(({ key }) => key)),
    async begin(attempt) {
      const counters = countersOf(attempt);
      requireNoneThrottled(counters.map(({ key }) => key));
      await database.transaction(async (tx) => {
        for (const { name, key } of counters) await countOrReject(tx, name, key);
      });
    },
    async succeed(tx, attempt) {
      for (const { name, key } of countersOf(attempt)) {
        throttled.delete(key);
        if (name === 'pair') await tx.delete(loginAttempts).where(eq(loginAttempts.key, key));
        else await decrement(tx, key);
      }
      await tx
        .insert(knownAddresses)
        .values({ userId: attempt.account, address: addressKey(attempt.address), lastAt: sql`now()` })
        .onConflictDoUpdate({
          target: [knownAddresses.userId, knownAddresses.address],
          set: { lastAt: sql`now()` },
        });
      if (!attempt.known) await deleteOlderRows(tx, knownAddressesOfUser, attempt.account, maxKnownAddresses);
    },
    requireActionAllowed: (action, by) => requireNoneThrottled([actionKey(action, by)]),
    async count(action, by) {
      const key = actionKey(action, by);
      requireNoneThrottled([key]);
      await database.transaction((tx) => countOrReject(tx, action, key));
    },
  };
}

/** Maximum number of known addresses per user. */
const maxKnownAddresses = 50;

const knownAddressesOfUser = {
  table: knownAddresses,
  userId: knownAddresses.userId,
  key: knownAddresses.address,
  at: knownAddresses.lastAt,
};

/** Returns the current level, which falls continuously after the last attempt (leaky bucket). */
function levelNow({ seconds }: LoginLimit) {
  const { level, at } = loginAttempts;
  return sql`greatest(0, ${level} - extract(epoch from now() - ${at}) / ${seconds}::float8)`;
}

/** Counts one attempt; returns false if the limit is exceeded. The update locks the row, so concurrent attempts are counted serially. */
async function tryCount(tx: Queries, key: string, limit: LoginLimit): Promise<boolean> {
  const raised = sql`${levelNow(limit)} + 1`;
  const rows = await tx
    .insert(loginAttempts)
    .values({ key, level: 1, at: sql`now()` })
    .onConflictDoUpdate({
      target: loginAttempts.key,
      set: { level: raised, at: sql`now()` },
      setWhere: sql`${raised} <= ${limit.burst}::float8`,
    })
    .returning({ key: loginAttempts.key });
  return rows.length === 1;
}

async function secondsUntilFree(tx: Queries, key: string, limit: LoginLimit): Promise<number> {
  const [row] = await tx
    .select({ level: sql<number>`${levelNow(limit)}::float8` })
    .from(loginAttempts)
    .where(eq(loginAttempts.key, key));
  return Math.max(1, Math.ceil(((row?.level ?? 0) + 1 - limit.burst) * limit.seconds));
}

async function decrement(tx: Queries, key: string): Promise<void> {
  await tx
    .update(loginAttempts)
    .set({ level: sql`greatest(0, ${loginAttempts.level} - 1)` })
    .where(eq(loginAttempts.key, key));
}

function tooMany(seconds: number): Failure {
  return new Failure('login-throttled', { retryAfterSeconds: seconds });
}
