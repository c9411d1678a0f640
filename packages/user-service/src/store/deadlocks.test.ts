import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { Failure } from '@zerda/chassis/failure';
import { cleanKeys } from '@zerda/chassis/idempotency/clean-keys';
import { createIdempotency, type Idempotency } from '@zerda/chassis/idempotency/idempotency';
import { StartupError } from '@zerda/chassis/startup-error';
import {
  awaitOutcomes,
  type CountingDatabase,
  countDeadlocks,
  describeOnEachEngine,
} from '@zerda/chassis/testing/database';
import { createGate, isFailure, silentLogger } from '@zerda/chassis/testing/observed';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { cleanIdentity } from '../identity/clean-identity.ts';
import { lockAccount, setPassword } from '../identity/credentials.ts';
import { createKeySecrets } from '../identity/key-secrets.ts';
import { createLoginLimits } from '../identity/login-limits.ts';
import { createSessions } from '../identity/sessions.ts';
import { createSigningKeys } from '../identity/signing-keys.ts';
import { createUserStore, type UserStore } from './user-store.ts';

describeOnEachEngine('users, concurrently', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counting: CountingDatabase;
  let store: UserStore;
  let idempotency: Idempotency;
  const secrets = createKeySecrets(['a secret of deadlocks, long enough']);

  before(async () => {
    counting = countDeadlocks(await openDatabase());
    store = createUserStore(counting.database);
    idempotency = createIdempotency(counting.database);
  });

  const expected = (error: unknown) =>
    assert.ok(error instanceof Failure || error instanceof StartupError, String(error));

  async function create(name: string, key?: string): Promise<number> {
    const user = { name, email: `${name}@example.com`, role: 'admin' as const };
    const keyed = key === undefined ? undefined : { key, caller: 'x', method: 'POST', path: '/', body: user };
    const response = await idempotency.run(
      keyed,
      (once) => store.create(user, { once }),
      ({ id }: User) => ({ body: id }),
    );
    return response.body;
  }

  it('do not deadlock while admins change and delete each other', async () => {
    for (let round = 0; round < 3; round += 1) {
      const ids = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => create(`admin-${round}-${n}`)));
      await awaitOutcomes(
        ids.flatMap((id, at) =>
          ids.flatMap((byAdmin) => [
            ['update', store.update(id, { name: `by ${byAdmin}` }, undefined, { byAdmin })] as const,
            ...(at > 3 ? [['removal', store.remove(id, undefined, { byAdmin })] as const] : []),
            ['creation', create(`made-${round}-${id}`, `${round} ${at}`)] as const,
          ]),
        ),
        expected,
      );
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock while they swap their e-mail addresses', async () => {
    for (let round = 0; round < 15; round += 1) {
      const pairs = await Promise.all(
        [1, 2, 3].map(async (n) => {
          const names = [`swap-${round}-${n}-a`, `swap-${round}-${n}-b`] as const;
          return [await create(names[0]), names[1], await create(names[1]), names[0]] as const;
        }),
      );
      await Promise.all(
        pairs.flatMap(([first, nextOfFirst, second, nextOfSecond]) => [
          store.update(first, { email: `${nextOfFirst}@example.com` }).catch(expected),
          store.update(second, { email: `${nextOfSecond}@example.com` }).catch(expected),
        ]),
      );
      // A direct swap fails because each address is taken; a swap through a free address succeeds.
      for (const [first, nextOfFirst, second, nextOfSecond] of pairs) {
        await store.update(first, { email: `free.${nextOfSecond}@example.com` });
        await store.update(second, { email: `${nextOfSecond}@example.com` });
        await store.update(first, { email: `${nextOfFirst}@example.com` });
      }
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('get 409 without waiting when another user with this address is being changed', async () => {
    const requester = await create('requester');
    const holder = await create('holder');
    const locked = createGate();
    const released = createGate();
    const moving = counting.database.transaction(async (tx) => {
      await tx.execute(sql`update users set email = 'moved@example.com' where id = ${holder}`);
      locked.open();
      await released.pass();
    });
    await locked.pass();
    await assert.rejects(store.update(requester, { email: 'holder@example.com' }), isFailure('email-taken'));
    released.open();
    await moving;
    await store.update(requester, { email: 'holder@example.com' });
  });

  it('do not deadlock while they log in, refresh, log out, change passwords and are deleted', async () => {
    const sessions = createSessions({
      database: counting.database,
      secrets,
      seconds: 3600,
      logger: silentLogger(),
    });
    const limits = createLoginLimits({ database: counting.database, secrets });
    const { transaction: write } = counting.database;
    for (let round = 0; round < 2; round += 1) {
      const ids = await Promise.all([1, 2, 3].map((n) => create(`login-${round}-${n}`)));
      const logIn = (id: number, n: number) =>
        write(async (tx) => {
          const account = await lockAccount(tx, id);
          if (account === undefined) return undefined;
          await limits.succeed(tx, { account: id, address: `192.0.2.${n % 3}`, known: n % 2 === 0 });
          return sessions.begin(tx, account.user);
        });
      const startedSessions = await Promise.all(
        ids.flatMap((id) => Array.from({ length: 20 }, (_, n) => logIn(id, n))),
      );
      await awaitOutcomes(
        [
          ...startedSessions.flatMap((session, n) => [
            ['refresh', sessions.refresh(session?.refreshToken ?? '')] as const,
            ...(n % 4 === 0 ? [['logout', sessions.end(session?.refreshToken ?? '')] as const] : []),
          ]),
          ...ids.flatMap((id) => Array.from({ length: 20 }, (_, n) => ['login', logIn(id, n)] as const)),
          ...ids.map((id) => {
            const change = write(async (tx) => {
              if ((await lockAccount(tx, id)) !== undefined) await setPassword(tx, id, 'a hash');
            });
            return ['new password', change] as const;
          }),
          [
            'expiry',
            write((tx) => tx.execute(sql`update sessions set expires_at = now() where created_at < now()`)),
          ],
          ['cleaning', cleanIdentity(counting.database)],
          ['cleaning', cleanIdentity(counting.database)],
          ['cleaning of keys', cleanKeys(counting.database)],
          ...ids.slice(1).map((id) => ['removal', store.remove(id)] as const),
        ],
        expected,
      );
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('do not deadlock while replicas create, read and rotate signing keys', async () => {
    const replicas = [1, 2, 3, 4].map(() =>
      createSigningKeys({ database: counting.database, secrets, tokenSeconds: 60 }),
    );
    for (let round = 0; round < 5; round += 1)
      await awaitOutcomes(
        replicas.flatMap((keys, at) => [
          ['signing', keys.current()] as const,
          ['rotation', keys.rotate({ immediately: at % 2 === 0 })] as const,
          ['publication', keys.published()] as const,
        ]),
        expected,
      );
    assert.equal(counting.deadlocks, 0);
  });
});
