import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import {
  type CountingDatabase,
  countDeadlocks,
  describeOnEachEngine,
  settle,
} from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import { cleanKeys } from '@zerda/chassis/idempotency/clean-keys';
import { StartupError } from '@zerda/chassis/startup-error';
import { createGate, isFailure, silentLogger } from '@zerda/chassis/testing';
import { sql } from 'drizzle-orm';
import { cleanIdentity } from '../identity/clean-identity.ts';
import { lockAccount, setPassword } from '../identity/credentials.ts';
import { createKeySecrets } from '../identity/key-secrets.ts';
import { createLoginLimits } from '../identity/login-limits.ts';
import { createSessions } from '../identity/sessions.ts';
import { createSigningKeys } from '../identity/signing-keys.ts';
import { migrations } from '../testing.ts';
import { createUserStore, type UserStore } from './user-store.ts';

describeOnEachEngine('users, concurrently', { migrations, engines: ['postgres'] }, (open) => {
  let counting: CountingDatabase;
  let store: UserStore;
  const secrets = createKeySecrets(['a secret of deadlocks, long enough']);

  before(async () => {
    counting = countDeadlocks(await open());
    store = createUserStore(counting.database);
  });

  const expected = (error: unknown) =>
    assert.ok(error instanceof Failure || error instanceof StartupError, String(error));

  async function create(name: string, key?: string): Promise<number> {
    const user = { name, email: `${name}@example.com`, role: 'admin' as const };
    const keyed = key === undefined ? undefined : { key, caller: 'x', method: 'POST', path: '/', body: user };
    return (await store.create(user, keyed, ({ id }) => ({ body: id }))).body as number;
  }

  it('do not deadlock while admins change and delete each other', async () => {
    for (let round = 0; round < 3; round += 1) {
      const ids = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => create(`admin-${round}-${n}`)));
      await settle(
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

  it('do not deadlock while they take the e-mail addresses of each other', async () => {
    for (let round = 0; round < 15; round += 1) {
      const pairs = await Promise.all(
        [1, 2, 3].map(async (n) => {
          const names = [`swap-${round}-${n}-a`, `swap-${round}-${n}-b`] as const;
          return [await create(names[0]), names[1], await create(names[1]), names[0]] as const;
        }),
      );
      await Promise.all(
        pairs.flatMap(([one, itsNext, other, otherNext]) => [
          store.update(one, { email: `${itsNext}@example.com` }).catch(expected),
          store.update(other, { email: `${otherNext}@example.com` }).catch(expected),
        ]),
      );
      // At once each address is taken; over a free one they change.
      for (const [one, itsNext, other, otherNext] of pairs) {
        await store.update(one, { email: `free.${otherNext}@example.com` });
        await store.update(other, { email: `${otherNext}@example.com` });
        await store.update(one, { email: `${itsNext}@example.com` });
      }
    }
    assert.equal(counting.deadlocks, 0);
  });

  it('are refused an address whose user is being changed at once, and wait for nobody', async () => {
    const asking = await create('asks');
    const holder = await create('holder');
    const held = createGate();
    const done = createGate();
    const moving = counting.database.write(async (tx) => {
      await tx.execute(sql`update users set email = 'moved@example.com' where id = ${holder}`);
      held.open();
      await done.pass();
    });
    await held.pass();
    await assert.rejects(store.update(asking, { email: 'holder@example.com' }), isFailure('email-taken'));
    done.open();
    await moving;
    await store.update(asking, { email: 'holder@example.com' });
  });

  it('do not deadlock while they log in, refresh, log out, get new passwords and are deleted', async () => {
    const sessions = createSessions({
      ...{ database: counting.database, secrets, seconds: 3600, logger: silentLogger() },
    });
    const limits = createLoginLimits({ database: counting.database, secrets });
    const { write } = counting.database;
    for (let round = 0; round < 2; round += 1) {
      const ids = await Promise.all([1, 2, 3].map((n) => create(`login-${round}-${n}`)));
      const logIn = (id: number, n: number) =>
        write(async (tx) => {
          const account = await lockAccount(tx, id);
          if (account === undefined) return undefined;
          await limits.succeed(tx, { account: id, address: `192.0.2.${n % 3}`, known: n % 2 === 0 });
          return sessions.begin(tx, account.user);
        });
      const begun = await Promise.all(
        ids.flatMap((id) => Array.from({ length: 20 }, (_, n) => logIn(id, n))),
      );
      await settle(
        [
          ...begun.flatMap((session, n) => [
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

  it('do not deadlock while replicas make, read and replace signing keys', async () => {
    const replicas = [1, 2, 3, 4].map(() =>
      createSigningKeys({ database: counting.database, secrets, tokenSeconds: 60 }),
    );
    for (let round = 0; round < 5; round += 1)
      await settle(
        replicas.flatMap((keys, at) => [
          ['signing', keys.current()] as const,
          ['rotation', keys.rotate({ atOnce: at % 2 === 0 })] as const,
          ['publication', keys.published()] as const,
        ]),
        expected,
      );
    assert.equal(counting.deadlocks, 0);
  });
});
