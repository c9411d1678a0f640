import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import {
  concurrentRuns,
  describeOnEachEngine,
  type OpenDatabase,
  untilWaiting,
} from '@zerda/chassis/testing/database';
import { createGate } from '@zerda/chassis/testing/observed';
import type { UserRole } from '@zerda/contracts/user-service/users';
import { eq, sql } from 'drizzle-orm';
import type { Express } from 'express';
import request from 'supertest';
import { createTestApp, migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { findAccount, setPassword } from '../identity/credentials.ts';
import { hashPassword, isPassword } from '../identity/password-hash.ts';
import { sessions } from '../identity/tables.ts';
import { users } from '../store/tables.ts';
import { insertUser } from '../store/user-store.ts';

const oldPassword = 'the old password of a user';
const newPassword = 'the new password of a user';
const otherPassword = 'the password of another user';

/** Returns a database whose nth call of one kind waits until it is released. */
function gateAt(database: Database, kind: 'read' | 'write', nth: number) {
  const [reached, released] = [createGate(), createGate()];
  let calls = 0;
  async function waitAtGate(call: 'read' | 'write'): Promise<void> {
    if (call !== kind) return;
    calls += 1;
    if (calls !== nth) return;
    reached.open();
    await released.pass();
  }
  const gated: Database = {
    ...database,
    query: (work) => waitAtGate('read').then(() => database.query(work)),
    transaction: (work) => waitAtGate('write').then(() => database.transaction(work)),
  };
  return { database: gated, reached: reached.pass(), release: released.open };
}

let serial = 0;

/** Sets up a service on its own database, and functions that create users with passwords and send their requests. */
function prepare(openDatabase: OpenDatabase) {
  let database: Database;
  let service: ReturnType<typeof createTestApp>;
  const hashes = new Map<string, string>();

  before(async () => {
    database = await openDatabase();
    for (const password of [oldPassword, otherPassword]) hashes.set(password, await hashPassword(password));
  });
  beforeEach(async () => {
    await database.transaction((tx) => tx.execute(sql`truncate login_attempts, known_addresses`));
    service = createTestApp(database, { AUTH: 'required' });
  });

  async function createUser(role: UserRole = 'user', password = oldPassword): Promise<User> {
    serial += 1;
    const email = `racer${serial}@example.com`;
    return database.transaction(async (tx) => {
      const user = await insertUser(tx, { name: 'Racer', email, role });
      await setPassword(tx, user.id, hashes.get(password) ?? '');
      return user;
    });
  }

  const tokenOf = async (user: User) => (await service.issuer.tokens.prepare())(user);

  interface SendOptions {
    readonly as?: User;
    readonly body?: object;
    readonly app?: Express;
  }

  async function send(
    method: 'post' | 'put' | 'delete',
    path: string,
    { as, body, app = service.app }: SendOptions,
  ) {
    const test = request(app)[method](path);
    if (as !== undefined) test.set('authorization', `Bearer ${await tokenOf(as)}`);
    return body === undefined ? test : test.send(body);
  }

  const logIn = (email: string, password: string, app?: Express) =>
    send('post', '/api/auth/login', { body: { email, password }, ...(app && { app }) });
  const update = (user: User, body: object, as = user, app?: Express) =>
    send('put', `/api/users/${user.id}`, { as, body, ...(app && { app }) });
  const changePassword = (user: User, app?: Express, password = newPassword) =>
    update(user, { password, current_password: oldPassword }, user, app);

  /** Sends a request that stops at the nth database call, runs `meanwhile`, and returns the response. */
  async function whileStopped<T>(
    at: readonly ['read' | 'write', number],
    sendBy: (app: Express) => Promise<T>,
    meanwhile: () => Promise<unknown>,
  ): Promise<T> {
    const gate = gateAt(database, ...at);
    const { app } = createTestApp(gate.database, { AUTH: 'required' });
    const response = sendBy(app);
    await Promise.race([
      gate.reached,
      response.then(() => assert.fail('the request ended before it reached the gate')),
    ]);
    await meanwhile();
    gate.release();
    return response;
  }

  async function sessionsOf({ id }: User): Promise<number> {
    return (await database.query((db) => db.select().from(sessions).where(eq(sessions.userId, id)))).length;
  }

  async function hasPassword({ id }: User, password: string): Promise<boolean> {
    const stored = (await findAccount(database, { userId: id }))?.passwordHash;
    // Equal hashes need no verification, which takes most of the time of these tests.
    return stored !== undefined && (stored === hashes.get(password) || isPassword(password, stored));
  }

  return {
    /** Returns the database after `before` has run. */
    opened: () => database,
    hashOf: (password: string) => hashes.get(password) ?? '',
    createUser,
    send,
    logIn,
    update,
    changePassword,
    whileStopped,
    sessionsOf,
    hasPassword,
  };
}

describeOnEachEngine('identity under concurrent changes', { migrations }, (openDatabase) => {
  const racers = prepare(openDatabase);
  const { createUser, send, logIn, update, changePassword, whileStopped, sessionsOf, hasPassword } = racers;
  let database: Database;

  before(() => {
    database = racers.opened();
  });

  it('returns 401 and starts no session when the password changes after the check', async () => {
    const user = await createUser();
    const { status, body } = await whileStopped(
      ['write', 2],
      (app) => logIn(user.email, oldPassword, app),
      async () => assert.equal((await changePassword(user)).status, 200),
    );
    assert.deepEqual([status, body.type], [401, '/problems/login-failed']);
    assert.equal(await sessionsOf(user), 0);
  });

  it('returns 401 and logs no fault when the user is deleted during the login', async () => {
    for (const write of [1, 2]) {
      const user = await createUser();
      const { status, body } = await whileStopped(
        ['write', write],
        (app) => logIn(user.email, oldPassword, app),
        async () => assert.equal((await send('delete', `/api/users/${user.id}`, { as: user })).status, 200),
      );
      assert.deepEqual([status, body.type], [401, '/problems/login-failed'], `write ${write}`);
    }
  });

  it('logs in when the hash of the same password is renewed during the login', async () => {
    const user = await createUser();
    const renewed = await hashPassword(oldPassword);
    const { status } = await whileStopped(
      ['write', 2],
      (app) => logIn(user.email, oldPassword, app),
      () => database.transaction((tx) => setPassword(tx, user.id, renewed)),
    );
    assert.equal(status, 200);
  });

  it('accepts only one of several concurrent password changes', async () => {
    const user = await createUser();
    const { status, body } = await whileStopped(
      ['write', 3],
      (app) => changePassword(user, app, 'the password of a thief'),
      async () => assert.equal((await changePassword(user)).status, 200),
    );
    assert.deepEqual([status, body.errors?.[0]?.path], [422, 'current_password']);
    assert.ok(await hasPassword(user, newPassword));
    const racer = await createUser();
    const responses = await Promise.all(
      Array.from({ length: 4 }, (_, index) =>
        changePassword(racer, undefined, `changed ${index} times or so`),
      ),
    );
    const statuses = responses.map((response) => response.status);
    assert.equal(statuses.filter((each) => each === 200).length, 1, String(statuses));
    // A retried check counts twice, more than five attempts are throttled, and on a busy machine the queue can time out.
    assert.ok(
      statuses.every((each) => [200, 422, 429, 503].includes(each)),
      String(statuses),
    );
  });

  it('checks the password of the user in the path when the e-mail address moves to another user', async () => {
    const victim = await createUser();
    const thief = await createUser('user', otherPassword);
    let stops = 0;
    for (const read of [1, 2, 3]) {
      const setEmails = async (victimEmail: string, thiefEmail: string) =>
        database.transaction(async (tx) => {
          await tx.update(users).set({ email: victimEmail }).where(eq(users.id, victim.id));
          await tx.update(users).set({ email: thiefEmail }).where(eq(users.id, thief.id));
        });
      const attack = whileStopped(
        ['read', read],
        (app) => update(victim, { password: newPassword, current_password: otherPassword }, victim, app),
        () => setEmails(`moved${serial}@example.com`, victim.email),
      );
      const { status } = await attack.catch((error: Error) => {
        assert.match(error.message, /before it reached/);
        return { status: 0 };
      });
      if (status === 0) break;
      stops += 1;
      assert.equal(status, 422, `read ${read}`);
      assert.ok(await hasPassword(victim, oldPassword));
      await database.transaction(async (tx) => {
        await tx.update(users).set({ email: thief.email }).where(eq(users.id, thief.id));
        await tx.update(users).set({ email: victim.email }).where(eq(users.id, victim.id));
        await tx.execute(sql`truncate login_attempts`);
      });
    }
    assert.ok(stops > 0, 'the request was stopped');
  });

  it('does not restore an e-mail address that changes during a request without the current password', async () => {
    const user = await createUser();
    const moved = `moved.${user.email}`;
    const { status, body } = await whileStopped(
      ['write', 1],
      (app) => update(user, { email: user.email, name: 'Renamed' }, user, app),
      () => database.transaction((tx) => tx.update(users).set({ email: moved }).where(eq(users.id, user.id))),
    );
    assert.deepEqual([status, body.data.email, body.data.name], [200, moved, 'Renamed']);
  });

  it('ends every session that started with the replaced password, in any order of commits', async () => {
    for (let round = 0; round < concurrentRuns(database, 10); round += 1) {
      const user = await createUser();
      const logins = [0, 1, 2].map(() => logIn(user.email, oldPassword));
      const [changed, ...responses] = await Promise.all([changePassword(user), ...logins]);
      assert.equal(changed?.status, 200);
      for (const { status, body } of responses) {
        if (status !== 200) continue;
        const refresh = { refresh_token: body.data.refresh_token };
        assert.equal((await send('post', '/api/auth/refresh', { body: refresh })).status, 401);
      }
      assert.equal(await sessionsOf(user), 0);
    }
  });

  describeAdmin('demoted', (admin) =>
    database.transaction((tx) => tx.update(users).set({ role: 'user' }).where(eq(users.id, admin.id))),
  );
  describeAdmin('deleted', (admin) =>
    database.transaction((tx) => tx.delete(users).where(eq(users.id, admin.id))),
  );

  function describeAdmin(state: string, end: (admin: User) => Promise<unknown>): void {
    /** Writes that require the role admin. */
    const writes: Readonly<
      Record<string, (admin: User, other: User, app?: Express) => Promise<{ status: number }>>
    > = {
      'restore the own role admin': (admin, _other, app) => update(admin, { role: 'admin' }, admin, app),
      'give another user the role admin': (admin, other, app) => update(other, { role: 'admin' }, admin, app),
      'set the password of another user': (admin, other, app) =>
        update(other, { password: newPassword }, admin, app),
      'change the e-mail address of another user': (admin, other, app) =>
        update(other, { email: `taken${serial}@example.com` }, admin, app),
      'delete another user': (admin, other, app) =>
        send('delete', `/api/users/${other.id}`, { as: admin, ...(app && { app }) }),
      'create an admin': (admin, other, app) =>
        send('post', '/api/users', {
          as: admin,
          body: { name: 'New', email: `new${other.id}@example.com`, role: 'admin', password: newPassword },
          ...(app && { app }),
        }),
    };

    for (const [what, write] of Object.entries(writes)) {
      it(`rejects an attempt to ${what} when the admin is ${state} before or during the request`, async () => {
        const before = { admin: await createUser('admin'), other: await createUser() };
        await end(before.admin);
        const expected = state === 'deleted' && what.startsWith('restore the own') ? 404 : 403;
        assert.equal((await write(before.admin, before.other)).status, expected);

        const during = { admin: await createUser('admin'), other: await createUser() };
        const { status } = await whileStopped(
          ['write', 1],
          (app) => write(during.admin, during.other, app),
          () => end(during.admin),
        );
        assert.equal(status, 403);
        for (const { admin, other } of [before, during]) {
          const remaining = await database.query((db) =>
            db.select().from(users).where(eq(users.id, other.id)),
          );
          assert.deepEqual(remaining, [other], 'nothing was written');
          const current = await database.query((db) => db.select().from(users).where(eq(users.id, admin.id)));
          assert.notEqual(current[0]?.role, 'admin');
          const newEmail = `new${other.id}@example.com`;
          assert.equal(
            (await database.query((db) => db.select().from(users).where(eq(users.email, newEmail)))).length,
            0,
          );
          assert.ok(await hasPassword(other, oldPassword));
        }
      });
    }
  }

  it('keeps one admin and does not deadlock when two admins demote or delete each other concurrently', async () => {
    for (let round = 0; round < concurrentRuns(database, 20); round += 1) {
      const [first, second] = [await createUser('admin'), await createUser('admin')];
      const demote = (target: User, as: User) => update(target, { role: 'user' }, as);
      const remove = (target: User, as: User) => send('delete', `/api/users/${target.id}`, { as });
      const responses = await Promise.all([
        (round % 2 === 0 ? demote : remove)(first, second),
        (round % 3 === 0 ? demote : remove)(second, first),
      ]);
      assert.deepEqual(responses.map(({ status }) => status).sort(), [200, 403], `round ${round}`);
    }
  });
});

// PGlite runs transactions serially, so none waits for a lock.
describeOnEachEngine('identity under a lock', { migrations, engines: ['postgres'] }, (openDatabase) => {
  const { opened, createUser, logIn, sessionsOf, hashOf } = prepare(openDatabase);

  it('returns 401 when the password changes while the login waits for the lock of the user', async () => {
    const database = opened();
    const user = await createUser();
    const [held, waits] = [createGate(), createGate()];
    const change = database.transaction(async (tx) => {
      await tx.execute(sql`select 1 from users where id = ${user.id} for update`);
      held.open();
      await waits.pass();
      await setPassword(tx, user.id, hashOf(otherPassword));
    });
    await held.pass();
    const response = logIn(user.email, oldPassword);
    await untilWaiting(database, 1);
    waits.open();
    await change;
    assert.equal((await response).status, 401);
    assert.equal(await sessionsOf(user), 0);
  });
});
