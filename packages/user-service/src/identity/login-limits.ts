import { isIPv6 } from 'node:net';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { eq, sql } from 'drizzle-orm';
import type { KeySecrets } from './key-secrets.ts';
import { knownAddresses, loginAttempts } from './tables.ts';

/** Who tries to log in as whom. */
export interface LoginAttempt {
  readonly email: string;
  /** Address of the client. */
  readonly address: string;
}

/** Slows down those who try passwords. */
export interface LoginLimits {
  /**
   * Counts an attempt before its password is looked at, so that many at once are counted too.
   * @param userId whose account it is; undefined when nobody has the e-mail address
   * @throws Failure `login-throttled` when there were too many, and then this one does not count
   */
  begin(attempt: LoginAttempt, userId: number | undefined): Promise<void>;
  /** The password was right: the attempt counts no more, and the address is one that this user is known at. */
  succeeded(attempt: LoginAttempt, userId: number): Promise<void>;
}

/** Attempts that are free, and then how many seconds apart they may be. */
export interface LoginLimit {
  readonly burst: number;
  readonly seconds: number;
}

/** For what is counted: somebody at one address who tries one account, all at an address, all who try an account. */
export interface LoginLimitSettings {
  readonly pair: LoginLimit;
  readonly address: LoginLimit;
  readonly account: LoginLimit;
}

/**
 * An address stands for a household or an office. The account's own limit does not hold for addresses that its user is known at: who
 * tries from everywhere slows down everywhere else, and locks nobody out.
 */
const standardLimits: LoginLimitSettings = {
  pair: { burst: 5, seconds: 15 },
  address: { burst: 30, seconds: 2 },
  account: { burst: 10, seconds: 10 },
};

export interface LoginLimitsOptions {
  readonly database: Database;
  readonly secrets: Pick<KeySecrets, 'fingerprint'>;
  readonly limits?: LoginLimitSettings;
}

export function createLoginLimits({
  database,
  secrets,
  limits = standardLimits,
}: LoginLimitsOptions): LoginLimits {
  /** What is in the database tells neither addresses nor accounts. */
  function keysOf({ email, address }: LoginAttempt) {
    const network = networkOf(address);
    return {
      pair: secrets.fingerprint(`pair ${network} ${email}`),
      address: secrets.fingerprint(`address ${network}`),
      account: secrets.fingerprint(`account ${email}`),
    };
  }

  /** Asked for nobody, too: how long it takes must not tell whether somebody has the e-mail address. */
  async function isKnown(tx: Queries, userId: number | undefined, address: string): Promise<boolean> {
    const [row] = await tx
      .select({ userId: knownAddresses.userId })
      .from(knownAddresses)
      .where(sql`${knownAddresses.userId} = ${userId ?? 0} and ${knownAddresses.address} = ${address}`);
    return row !== undefined;
  }

  return {
    async begin(attempt, userId) {
      const keys = keysOf(attempt);
      await database.write(async (tx) => {
        const names: (keyof LoginLimitSettings)[] = (await isKnown(tx, userId, keys.address))
          ? ['pair', 'address']
          : ['pair', 'address', 'account'];
        // In one order, so that two attempts never wait for each other in a circle.
        const counted = names
          .map((name) => ({ key: keys[name], limit: limits[name] }))
          .sort((a, b) => (a.key < b.key ? -1 : 1));
        for (const { key, limit } of counted) {
          if (await raise(tx, key, limit)) continue;
          const seconds = await secondsUntilFree(tx, key, limit);
          // Takes back with it what was raised before.
          throw new Failure('login-throttled', { headers: { 'Retry-After': String(seconds) } });
        }
      });
    },
    async succeeded(attempt, userId) {
      const { pair, address, account } = keysOf(attempt);
      await database.write(async (tx) => {
        await lower(tx, [address, account]);
        await tx.delete(loginAttempts).where(eq(loginAttempts.key, pair));
        await tx
          .insert(knownAddresses)
          .values({ userId, address, lastAt: sql`now()` })
          .onConflictDoUpdate({
            target: [knownAddresses.userId, knownAddresses.address],
            set: { lastAt: sql`now()` },
          });
      });
    },
  };
}

/** The level as it is now, after it has fallen since the last attempt. */
function levelNow({ seconds }: LoginLimit) {
  const { level, at } = loginAttempts;
  return sql`greatest(0, ${level} - extract(epoch from now() - ${at}) / ${seconds}::float8)`;
}

/** Counts an attempt; false when there is no room for it. The row is locked from here on, so that attempts at once are counted one by one. */
async function raise(tx: Queries, key: string, limit: LoginLimit): Promise<boolean> {
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

async function lower(tx: Queries, keys: readonly string[]): Promise<void> {
  for (const key of [...keys].sort()) {
    await tx
      .update(loginAttempts)
      .set({ level: sql`greatest(0, ${loginAttempts.level} - 1)` })
      .where(eq(loginAttempts.key, key));
  }
}

/** What one party has: an address of IPv4, or the /64 that a line with IPv6 gets. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - rest.length);
  return [...groups, ...Array<string>(zeros).fill('0'), ...rest]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
