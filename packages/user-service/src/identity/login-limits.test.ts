import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { concurrentRuns, countDeadlocks, describeOnEachEngine } from '@zerda/chassis/testing/database';
import { isFailure } from '@zerda/chassis/testing/observed';
import { eq, sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { insertUser } from '../store/user-store.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createLoginLimits, type LoginLimits } from './login-limits.ts';
import { knownAddresses } from './tables.ts';

const email = 'victim@example.com';

const isThrottled = isFailure('login-throttled');

describeOnEachEngine('login limits', { migrations }, (openDatabase) => {
  let database: Database;
  let limits: LoginLimits;
  let userId: number;

  const createReplica = () =>
    createLoginLimits({ database, secrets: createKeySecrets(['a secret of limits, long enough']) });

  before(async () => {
    database = await openDatabase();
    const user = { name: 'Victim', email, role: 'user' as const };
    userId = (await database.transaction((tx) => insertUser(tx, user))).id;
  });
  beforeEach(async () => {
    limits = createReplica();
    await database.transaction((tx) => tx.execute(sql`truncate login_attempts, known_addresses`));
  });

  /** Seconds until the next attempt is allowed; 0 when this one is. */
  async function secondsUntilAllowed(attempt: () => Promise<void>): Promise<number> {
    try {
      await attempt();
      return 0;
    } catch (error) {
      assert.ok(isThrottled(error), String(error));
      return error.retryAfterSeconds ?? Number.NaN;
    }
  }

  const attempt = (address: string, account: number | string = userId, known = false) =>
    secondsUntilAllowed(() => limits.begin({ account, address, known }));

  const succeed = (address: string, known = false) =>
    database.transaction((tx) => limits.succeed(tx, { account: userId, address, known }));

  /** Moves the time in the database forward and starts a new replica without a cache. */
  async function pass(seconds: number): Promise<void> {
    limits = createReplica();
    await database.transaction((tx) =>
      tx.execute(sql`update login_attempts set at = at - make_interval(secs => ${seconds})`),
    );
  }

  it('allow 5 attempts for an account from one address and return Retry-After', async () => {
    for (let count = 0; count < 5; count += 1) assert.equal(await attempt('192.0.2.1'), 0);
    const wait = await attempt('192.0.2.1');
    assert.ok(wait >= 14 && wait <= 15, `${wait} s`);
    await pass(16);
    assert.equal(await attempt('192.0.2.1'), 0);
    assert.ok((await attempt('192.0.2.1')) > 0);
  });

  it('count concurrent attempts', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, () => attempt('192.0.2.1')));
    assert.equal(results.filter((wait) => wait === 0).length, 5);
  });

  it('allow 30 attempts from one address for many accounts', async () => {
    let allowed = 0;
    for (let count = 0; count < 40; count += 1)
      if ((await attempt('192.0.2.1', `user${count}@example.com`)) === 0) allowed += 1;
    assert.ok(allowed >= 30 && allowed <= 32, `${allowed} attempts`);
    assert.equal(await attempt('192.0.2.2', 'user1@example.com'), 0, 'another address is not affected');
  });

  it('allow 10 attempts for one account from all addresses, except from known addresses', async () => {
    let allowed = 0;
    for (let count = 0; count < 60; count += 1) if ((await attempt(`192.0.2.${count}`)) === 0) allowed += 1;
    assert.ok(allowed >= 10 && allowed <= 12, `${allowed} attempts`);
    assert.equal(await attempt('198.51.100.7', userId, true), 0);
    assert.ok((await attempt('203.0.113.5')) <= 10, 'other addresses are allowed again soon');
  });

  it('do not affect a known address of the user when others exhaust the limit of the address', async () => {
    for (let count = 0; count < 40; count += 1) await attempt('192.0.2.1', `user${count}@example.com`);
    assert.ok((await attempt('192.0.2.1')) > 0);
    assert.equal(await attempt('192.0.2.1', userId, true), 0);
  });

  it('reset failed attempts after a successful login', async () => {
    for (let round = 0; round < 10; round += 1) {
      for (let count = 0; count < 4; count += 1)
        assert.equal(await attempt('192.0.2.1', userId, round > 0), 0, `round ${round}`);
      await succeed('192.0.2.1', round > 0);
      await pass(8);
    }
  });

  it('are the same for an account that does not exist', async () => {
    const waits = async (account: number | string) => {
      const seen: number[] = [];
      for (let count = 0; count < 8; count += 1)
        seen.push(Math.sign(await attempt(`192.0.2.${count % 2}`, account)));
      return seen;
    };
    const known = await waits(userId);
    await database.transaction((tx) => tx.execute(sql`truncate login_attempts`));
    limits = createReplica();
    assert.deepEqual(await waits('nobody@example.com'), known);
  });

  it('count the /64 of an IPv6 address as one address', async () => {
    for (let count = 0; count < 5; count += 1) assert.equal(await attempt(`2001:db8:1:2::${count}`), 0);
    assert.ok((await attempt('2001:db8:1:2:ffff:1:2:3')) > 0);
    assert.equal(await attempt('2001:db8:1:3::1'), 0);
  });

  it('store neither addresses nor accounts', async () => {
    await attempt('192.0.2.77', email);
    await succeed('192.0.2.77');
    await attempt('192.0.2.77', email);
    await limits.count('sign-up', { address: '192.0.2.77' });
    const rows = await database.query((db) =>
      rowsOf<{ row: string }>(
        db,
        sql`
        select row_to_json(a)::text as row from login_attempts a union all
        select row_to_json(k)::text from known_addresses k`,
      ),
    );
    assert.ok(rows.length >= 5);
    assert.doesNotMatch(rows.map(({ row }) => row).join(), /192\.0|victim/);
  });

  for (const [action, allowed] of [
    ['new-password', 5],
    ['new-email', 3],
    ['sign-up', 20],
  ] as const) {
    it(`allow ${allowed} times ${action} at once and count each subject separately`, async () => {
      const [subject, otherSubject] =
        action === 'sign-up'
          ? [{ address: '192.0.2.1' }, { address: '192.0.2.2' }]
          : [{ userId }, { userId: userId + 1 }];
      const replica = createReplica();
      const waits = await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          secondsUntilAllowed(() => (index % 2 === 0 ? limits : replica).count(action, subject)),
        ),
      );
      assert.equal(waits.filter((wait) => wait === 0).length, allowed);
      assert.throws(() => limits.requireActionAllowed(action, subject), isThrottled);
      limits.requireActionAllowed(action, otherSubject);
      await limits.count(action, otherSubject);
    });
  }

  it('keep the 50 most recent known addresses of a user', async () => {
    for (let index = 0; index < 55; index += 1) {
      await succeed(`198.51.100.${index}`);
      await database.transaction((tx) =>
        tx.execute(sql`update known_addresses set last_at = last_at - interval '1 minute'`),
      );
    }
    const stored = await database.query((db) => db.select().from(knownAddresses));
    assert.equal(stored.length, 50);
    const keys = new Set(stored.map(({ address }) => address));
    assert.ok(keys.has(limits.addressKey('198.51.100.54')) && !keys.has(limits.addressKey('198.51.100.4')));
  });

  it('keep a known address of another user when the first user has 50 newer ones', async () => {
    const other = { name: 'Other', email: 'other@example.com', role: 'user' as const };
    const { id } = await database.transaction((tx) => insertUser(tx, other));
    const address = '198.51.100.0';
    await database.transaction((tx) => limits.succeed(tx, { account: id, address, known: false }));
    for (let index = 0; index <= 50; index += 1) await succeed(`198.51.100.${index}`);
    const stored = await database.query((db) =>
      db.select({ userId: knownAddresses.userId }).from(knownAddresses).where(eq(knownAddresses.userId, id)),
    );
    assert.deepEqual(stored, [{ userId: id }]);
  });

  it('allow three new e-mail addresses a day', async () => {
    let allowed = 0;
    for (let hour = 0; hour < 72; hour += 1) {
      if ((await secondsUntilAllowed(() => limits.count('new-email', { userId }))) === 0) allowed += 1;
      await pass(3600);
    }
    assert.ok(allowed >= 9 && allowed <= 11, `${allowed} in three days`);
  });

  it('reject subjects over their limit without a query', async () => {
    let transactions = 0;
    const write: Database['transaction'] = (work) => {
      transactions += 1;
      return database.transaction(work);
    };
    const secrets = createKeySecrets(['a secret of limits, long enough']);
    limits = createLoginLimits({ database: { ...database, transaction: write }, secrets });
    for (let count = 0; count < 20; count += 1) await attempt('192.0.2.1');
    assert.equal(transactions, 6);
    assert.equal(await attempt('192.0.2.2'), 0);
  });

  it('do not deadlock when two replicas count attempts concurrently', async () => {
    const counting = countDeadlocks(database);
    const secrets = createKeySecrets(['a secret of limits, long enough']);
    const replicas = [1, 2].map(() => createLoginLimits({ database: counting.database, secrets }));
    let begun = 0;
    await Promise.all(
      Array.from({ length: concurrentRuns(database, 200) }, async (_, index) => {
        const replica = replicas[index % 2] as LoginLimits;
        const attempt = { account: userId, address: `192.0.2.${index % 7}`, known: false };
        await replica.begin(attempt).then(
          () => {
            begun += 1;
          },
          (error) => assert.ok(isThrottled(error), String(error)),
        );
        await counting.database.transaction((tx) => replica.succeed(tx, attempt));
      }),
    );
    assert.ok(begun > 0);
    assert.equal(counting.deadlocks, 0);
  });
});
