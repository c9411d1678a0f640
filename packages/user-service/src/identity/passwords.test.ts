import assert from 'node:assert/strict';
import { afterEach, before, beforeEach, it, mock } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { Failure } from '@zerda/chassis/failure';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { createGate } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { insertUser } from '../store/user-store.ts';
import { setPassword } from './credentials.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createLoginLimits } from './login-limits.ts';
import { hashPassword } from './password-hash.ts';
import { createPasswordQueue } from './password-queue.ts';
import { createPasswords } from './passwords.ts';

const password = 'a password of every user here';

describeOnEachEngine('logins while the queue is busy', { migrations }, (openDatabase) => {
  let database: Database;
  let passwordHash: string;
  let serial = 0;
  const secrets = createKeySecrets(['a secret of limits, long enough']);

  before(async () => {
    database = await openDatabase();
    passwordHash = await hashPassword(password);
  });
  beforeEach(async () => {
    await database.transaction((tx) => tx.execute(sql`truncate login_attempts, known_addresses`));
  });

  afterEach(() => mock.restoreAll());

  const addressOf = (index: number) => `192.0.2.${index}`;

  /** Creates a user with these known addresses. */
  async function createUser(addresses: readonly string[]): Promise<string> {
    serial += 1;
    const email = `user${serial}@example.com`;
    const limits = createLoginLimits({ database, secrets });
    await database.transaction(async (tx) => {
      const user = await insertUser(tx, { name: 'User', email, role: 'user' });
      await setPassword(tx, user.id, passwordHash);
      for (const address of addresses) await limits.succeed(tx, { account: user.id, address, known: false });
    });
    return email;
  }

  /** Creates a queue whose only slot is occupied until `release` is called, so that every login waits. */
  function busyQueue() {
    const queue = createPasswordQueue({ concurrency: 1, capacity: 10, maxWaitMs: 60_000 });
    const limits = createLoginLimits({ database, secrets });
    const query = mock.method(database, 'query');
    const passwords = createPasswords({ database, limits, queue, onOutcome: () => undefined });
    const released = createGate();
    const held = queue.run({ kind: 'new-password', client: 'held' }, released.pass);
    let pending = 0;
    /** Logs in and returns the outcome. */
    const logIn = async (email: string, address: string): Promise<string> => {
      pending += 1;
      return passwords
        .logIn({ account: { email }, password, address }, async () => 'succeeded')
        .catch((error: unknown) => (error instanceof Failure ? error.code : String(error)))
        .finally(() => (pending -= 1));
    };
    /** Waits until every pending login is in the queue. */
    const settle = () => eventually(async () => queue.load.waiting === pending, 'the logins to wait');
    return {
      logIn,
      settle,
      release: released.open,
      held,
      limits,
      queue,
      queryCount: () => query.mock.callCount(),
    };
  }

  it('serves a login from a known address when another user floods from many known addresses', async () => {
    const addresses = Array.from({ length: 12 }, (_, index) => addressOf(index + 1));
    const [greedy, victim] = [await createUser(addresses), await createUser([addressOf(200)])];
    const { logIn, settle, release, held } = busyQueue();
    const flood = addresses.map((address) => logIn(greedy, address));
    await settle();
    const login = logIn(victim, addressOf(200));
    // The flood does not occupy the capacity for logins from unknown addresses.
    const another = logIn(victim, addressOf(201));
    await settle();
    release();
    await held;
    assert.deepEqual([await login, await another], ['succeeded', 'succeeded']);
    const rejected = (await Promise.all(flood)).filter((outcome) => outcome === 'login-overloaded');
    assert.ok(rejected.length > 0, 'the flood exceeded the capacity');
  });

  it('queues a login from a known address among other logins when known logins are full', async () => {
    const addresses = Array.from({ length: 8 }, (_, index) => addressOf(index + 1));
    const greedy = await Promise.all(addresses.map((address) => createUser([address])));
    const victim = await createUser([addressOf(200)]);
    const { logIn, settle, release, held } = busyQueue();
    // Known logins have a capacity of four.
    const flood = greedy.slice(0, 4).map((email, index) => logIn(email, addressOf(index + 1)));
    await settle();
    const login = logIn(victim, addressOf(200));
    await settle();
    release();
    await held;
    assert.equal(await login, 'succeeded');
    await Promise.all(flood);
  });

  it('rejects a repeated login without a query while the user fills the queue, and serves it after that', async () => {
    const addresses = Array.from({ length: 6 }, (_, index) => addressOf(index + 1));
    const greedy = await createUser(addresses);
    const { logIn, settle, release, held, queryCount } = busyQueue();
    // Known logins have a capacity of four.
    const flood = addresses.slice(0, 5).map((address) => logIn(greedy, address));
    await settle();
    assert.equal(await logIn(greedy, addressOf(6)), 'login-overloaded');
    const before = queryCount();
    assert.equal(await logIn(greedy, addressOf(6)), 'login-overloaded');
    assert.equal(queryCount(), before);
    release();
    await held;
    await Promise.all(flood);
    assert.equal(await logIn(greedy, addressOf(6)), 'succeeded');
  });

  it('rejects a throttled attempt before it enters the queue', async () => {
    const { logIn, settle, release, held, limits, queue } = busyQueue();
    for (let count = 0; count < 6; count += 1) {
      const attempt = { account: 'nobody@example.com', address: addressOf(1), known: false };
      await limits.begin(attempt).catch(() => undefined);
    }
    const outcome = logIn('nobody@example.com', addressOf(1));
    await settle();
    const waiting = queue.load.waiting;
    release();
    await held;
    assert.deepEqual([await outcome, waiting], ['login-throttled', 0]);
  });
});
