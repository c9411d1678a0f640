import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { until } from '@zerda/chassis/events/testing-transport';
import { Failure } from '@zerda/chassis/failure';
import { sql } from 'drizzle-orm';
import { insertUser } from '../store/user-store.ts';
import { migrations } from '../testing.ts';
import { setPassword } from './credentials.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createLoginLimits } from './login-limits.ts';
import { hashPassword } from './password-hash.ts';
import { createPasswordQueue } from './password-queue.ts';
import { createPasswords } from './passwords.ts';

const password = 'a password of every user here';

describeOnEachEngine('logins while the queue is busy', { migrations }, (open) => {
  let database: Database;
  let passwordHash: string;
  let serial = 0;
  const secrets = createKeySecrets(['a secret of limits, long enough']);

  before(async () => {
    database = await open();
    passwordHash = await hashPassword(password);
  });
  beforeEach(async () => {
    await database.write((tx) => tx.execute(sql`truncate login_attempts, known_addresses`));
  });

  const addressOf = (index: number) => `192.0.2.${index}`;

  /** A user who has logged in from these addresses. */
  async function createUser(addresses: readonly string[]): Promise<string> {
    serial += 1;
    const email = `user${serial}@example.com`;
    const limits = createLoginLimits({ database, secrets });
    await database.write(async (tx) => {
      const user = await insertUser(tx, { name: 'User', email, role: 'user' });
      await setPassword(tx, user.id, passwordHash);
      for (const address of addresses) await limits.succeed(tx, { account: user.id, address, known: false });
    });
    return email;
  }

  /** Logs in while one work runs until `release` is called, so that every login waits. */
  function busyQueue() {
    const queue = createPasswordQueue({ concurrency: 1, capacity: 10, maxWaitMs: 60_000 });
    const limits = createLoginLimits({ database, secrets });
    const passwords = createPasswords({ database, limits, queue, onOutcome: () => undefined });
    let release = (): void => undefined;
    const held = queue.run(
      { kind: 'new-password', client: 'held' },
      () => new Promise<void>((resolve) => (release = resolve)),
    );
    let pending = 0;
    /** The outcome of a login. */
    const logIn = async (email: string, address: string, given = password): Promise<string> => {
      pending += 1;
      return passwords
        .logIn({ account: { email }, password: given, address }, async () => 'succeeded')
        .catch((error: unknown) => (error instanceof Failure ? error.code : String(error)))
        .finally(() => (pending -= 1));
    };
    /** Waits until each login that has no outcome is in the queue. */
    const settle = () => until(async () => queue.load.waiting === pending, 'the logins to wait');
    return { logIn, settle, release: () => release(), held, limits, queue };
  }

  it('gives a user at a known address a turn when another user is known at many addresses', async () => {
    const addresses = Array.from({ length: 12 }, (_, index) => addressOf(index + 1));
    const [greedy, victim] = [await createUser(addresses), await createUser([addressOf(200)])];
    const { logIn, settle, release, held } = busyQueue();
    const flood = addresses.map((address) => logIn(greedy, address));
    await settle();
    const login = logIn(victim, addressOf(200));
    // A login of a user at a new address finds the places of others free of the flood.
    const another = logIn(victim, addressOf(201));
    await settle();
    release();
    await held;
    assert.deepEqual([await login, await another], ['succeeded', 'succeeded']);
    const refused = (await Promise.all(flood)).filter((outcome) => outcome === 'login-overloaded');
    assert.ok(refused.length > 0, 'the flood was more than the queue holds');
  });

  it('gives a user at a known address a place among other logins when many known users take all', async () => {
    const addresses = Array.from({ length: 8 }, (_, index) => addressOf(index + 1));
    const greedy = await Promise.all(addresses.map((address) => createUser([address])));
    const victim = await createUser([addressOf(200)]);
    const { logIn, settle, release, held } = busyQueue();
    // Four places are those of known logins.
    const flood = greedy.slice(0, 4).map((email, index) => logIn(email, addressOf(index + 1)));
    await settle();
    const login = logIn(victim, addressOf(200));
    await settle();
    release();
    await held;
    assert.equal(await login, 'succeeded');
    await Promise.all(flood);
  });

  it('refuses a throttled attempt before it takes a place', async () => {
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
