import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import { eq, sql } from 'drizzle-orm';
import { LRUCache } from 'lru-cache';
import type { KeySecrets } from './key-secrets.ts';
import { keepNewest } from './newest-rows.ts';
import { knownAddresses, loginAttempts } from './tables.ts';

/** An attempt to use a password. */
export interface LoginAttempt {
  /** Identifies the account: its user id, or the e-mail address where no user has it. */
  readonly account: number | string;
  /** Address of the client. */
  readonly address: string;
  /** Whether this user has logged in from this address before. */
  readonly known: boolean;
}

/** Slows down password guessing, and bounds what a caller can do with a password that is right. */
export interface LoginLimits {
  /**
   * Counts an attempt before its password is checked, so that concurrent attempts are counted too.
   * @throws Failure `login-throttled` when there were too many, and then this one does not count
   */
  begin(attempt: LoginAttempt): Promise<void>;
  /** Counts nothing. @throws Failure `login-throttled` when this process knows that there were too many attempts */
  requireOpen(attempt: LoginAttempt): void;
  /**
   * Takes the attempt back in the transaction that acts on the right password, and records the address as one that the user is
   * known at. The caller has locked the user.
   */
  succeed(tx: Queries, attempt: LoginAttempt & { readonly account: number }): Promise<void>;
  /** Counts an action, whatever its outcome. @throws Failure `login-throttled` when there were too many */
  count(action: LimitedAction, by: LimitedBy): Promise<void>;
  /** Counts nothing. @throws Failure `login-throttled` when this process knows that there were too many */
  requireFree(action: LimitedAction, by: LimitedBy): void;
  /** What stands for an address in the database. */
  addressKey(address: string): string;
}

/** A rate: this many at once, and then one every so many seconds. */
export interface LoginLimit {
  readonly burst: number;
  readonly seconds: number;
}

/** Actions with a limit of their own. */
export type LimitedAction = 'new-password' | 'new-email' | 'sign-up';

/** Whose actions are counted: those of a user, or those from the network of an address. */
export type LimitedBy = { readonly userId: number } | { readonly address: string };

type LimitName = 'pair' | 'address' | 'account' | LimitedAction;

/**
 * `pair` counts the attempts at one account from one address, `address` all from an address, `account` all at an account. An address
 * stands for a household or an office. At an address where a user is known only `pair` counts, so neither guesses from elsewhere nor
 * from other machines of that network keep the user out. A new e-mail address reports whether another user has it, so there are
 * three a day.
 */
const standardLimits: Readonly<Record<LimitName, LoginLimit>> = {
  pair: { burst: 5, seconds: 15 },
  address: { burst: 30, seconds: 2 },
  account: { burst: 10, seconds: 10 },
  'new-password': { burst: 5, seconds: 600 },
  'new-email': { burst: 3, seconds: 28_800 },
  'sign-up': { burst: 20, seconds: 30 },
};

/** Keys that are known to be over their limit, at most: those are refused without asking the database. */
const maxThrottled = 10_000;

export interface LoginLimitsOptions {
  readonly database: Database;
  readonly secrets: Pick<KeySecrets, 'fingerprint'>;
}

export function createLoginLimits({ database, secrets }: LoginLimitsOptions): LoginLimits {
  const throttled = new LRUCache<string, true>({ max: maxThrottled });

  // The database holds neither addresses nor accounts.
  const keyOf = (name: string, value: string | number): string => secrets.fingerprint(`${name} ${value}`);
  const addressKey = (address: string): string => keyOf('address', networkOf(address));

  /** The counters of an attempt, by key. In the order of their keys, so that two attempts never wait for each other in a circle. */
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

  /** @throws Failure `login-throttled`, which takes back what the transaction has counted before */
  async function raise(tx: Queries, name: LimitName, key: string): Promise<void> {
    const limit = standardLimits[name];
    if (await countOne(tx, key, limit)) return;
    const seconds = await secondsUntilFree(tx, key, limit);
    throttled.set(key, true, { ttl: seconds * 1000 });
    throw tooMany(seconds);
  }

  const actionKey = (action: LimitedAction, by: LimitedBy): string =>
    keyOf(action, 'userId' in by ? by.userId : networkOf(by.address));

  function requireAllFree(keys: readonly string[]): void {
    const leftMs = Math.max(0, ...keys.map((key) => throttled.getRemainingTTL(key)));
    if (leftMs > 0) throw tooMany(Math.ceil(leftMs / 1000));
  }

  return {
    addressKey,
    requireOpen: (attempt) => requireAllFree(countersOf(attempt).map(({ key }) => key)),
    async begin(attempt) {
      const counters = countersOf(attempt);
      requireAllFree(counters.map(({ key }) => key));
      await database.write(async (tx) => {
        for (const { name, key } of counters) await raise(tx, name, key);
      });
    },
    async succeed(tx, attempt) {
      for (const { name, key } of countersOf(attempt)) {
        throttled.delete(key);
        if (name === 'pair') await tx.delete(loginAttempts).where(eq(loginAttempts.key, key));
        else await lower(tx, key);
      }
      await tx
        .insert(knownAddresses)
        .values({ userId: attempt.account, address: addressKey(attempt.address), lastAt: sql`now()` })
        .onConflictDoUpdate({
          target: [knownAddresses.userId, knownAddresses.address],
          set: { lastAt: sql`now()` },
        });
      if (!attempt.known) await keepNewest(tx, knownAddressesOfUser, attempt.account, maxKnownAddresses);
    },
    requireFree: (action, by) => requireAllFree([actionKey(action, by)]),
    async count(action, by) {
      const key = actionKey(action, by);
      requireAllFree([key]);
      await database.write((tx) => raise(tx, action, key));
    },
  };
}

/** Addresses that a user is known at, at most. */
const maxKnownAddresses = 50;

const knownAddressesOfUser = {
  ...{ table: knownAddresses, userId: knownAddresses.userId },
  ...{ key: knownAddresses.address, at: knownAddresses.lastAt },
};

/** The level as it is now, after it has fallen since the last attempt. */
function levelNow({ seconds }: LoginLimit) {
  const { level, at } = loginAttempts;
  return sql`greatest(0, ${level} - extract(epoch from now() - ${at}) / ${seconds}::float8)`;
}

/** Counts one more; false when there is no room for it. The row is then locked, so concurrent attempts are counted one by one. */
async function countOne(tx: Queries, key: string, limit: LoginLimit): Promise<boolean> {
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

async function lower(tx: Queries, key: string): Promise<void> {
  await tx
    .update(loginAttempts)
    .set({ level: sql`greatest(0, ${loginAttempts.level} - 1)` })
    .where(eq(loginAttempts.key, key));
}

function tooMany(seconds: number): Failure {
  return new Failure('login-throttled', { headers: { 'Retry-After': String(seconds) } });
}
