import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { Failure } from '@zerda/chassis/failure';
import { parsePreconditions } from '@zerda/chassis/http/entity-tag';
import { concurrentRuns, countWrites, describeOnEachEngine } from '@zerda/chassis/testing/database';
import { isFailure } from '@zerda/chassis/testing/observed';
import { eventEnvelope } from '@zerda/contracts/events/envelope';
import { userEvents } from '@zerda/contracts/user-service/events';
import type { NewUser } from '@zerda/contracts/user-service/users';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { users } from './tables.ts';
import { createUserStore, type UserStore } from './user-store.ts';

let serial = 0;

function newUserWith(user: Partial<NewUser> = {}): NewUser {
  serial += 1;
  return { name: `User ${serial}`, email: `user${serial}@example.com`, role: 'user', ...user };
}

describeOnEachEngine('user store', { migrations }, (openDatabase) => {
  let database: Database;
  let store: UserStore;

  before(async () => {
    database = await openDatabase();
    store = createUserStore(database);
  });

  async function create(user: Partial<NewUser> = {}): Promise<User> {
    return store.create(newUserWith(user));
  }

  async function recount(): Promise<number> {
    const [row] = await database.query((db) => db.select({ users: sql<number>`count(*)` }).from(users));
    return row?.users ?? Number.NaN;
  }

  it('finds a created user with version 1', async () => {
    const user = await create({ role: 'admin' });
    assert.equal(user.version, 1);
    assert.deepEqual(await store.find(user.id), user);
  });

  it('rejects the e-mail address of another user, ignoring letter case', async () => {
    const { email } = await create();
    const other = await create();
    await assert.rejects(create({ email }), isFailure('email-taken'));
    await assert.rejects(create({ email: email.toUpperCase() }), isFailure('email-taken'));
    await assert.rejects(store.update(other.id, { email: email.toUpperCase() }), isFailure('email-taken'));
    assert.deepEqual(await store.find(other.id), other);
  });

  it('allows a user to change the letter case of their e-mail address', async () => {
    const { id, email } = await create();
    assert.equal((await store.update(id, { email: email.toUpperCase() })).email, email.toUpperCase());
  });

  it('uses one connection for concurrent changes of one user', async () => {
    const counting = countWrites(database);
    const countingStore = createUserStore(counting.database);
    const { id } = await create();
    await Promise.all(
      Array.from({ length: 10 }, (_, index) => countingStore.update(id, { name: `Change ${index}` })),
    );
    assert.equal(counting.maxWrites, 1);
    assert.equal((await store.find(id)).version, 11);
    await Promise.all([
      countingStore.remove(id),
      assert.rejects(countingStore.remove(id), isFailure('user-not-found')),
    ]);
    assert.equal(counting.maxWrites, 1);
  });

  it('reports a taken e-mail address before slow work', async () => {
    const { email } = await create();
    await assert.rejects(store.requireFreeEmail(email.toUpperCase()), isFailure('email-taken'));
    await store.requireFreeEmail(`free-${email}`);
  });

  it('changes only the given members and increments the version', async () => {
    const user = await create();
    const changed = await store.update(user.id, { name: 'New Name' });
    assert.deepEqual(
      { ...changed, updatedAt: undefined },
      { ...user, name: 'New Name', version: 2, updatedAt: undefined },
    );
    assert.ok(changed.updatedAt >= user.updatedAt);
  });

  it('removes a user from lists and from the count', async () => {
    const user = await create();
    const countBefore = await store.count();
    await store.remove(user.id);
    assert.equal(await store.count(), countBefore - 1);
    await assert.rejects(store.find(user.id), isFailure('user-not-found'));
    await assert.rejects(store.update(user.id, { name: 'x' }), isFailure('user-not-found'));
    await assert.rejects(store.remove(user.id), isFailure('user-not-found'));
  });

  it('writes only if the version matches the precondition', async () => {
    const { id } = await create();
    await store.update(id, { name: 'second' }, parsePreconditions({ ifMatch: '"1"' }));
    await assert.rejects(
      store.update(id, { name: 'third' }, parsePreconditions({ ifMatch: '"1"' })),
      isFailure('precondition-failed'),
    );
    await assert.rejects(
      store.remove(id, parsePreconditions({ ifMatch: '"1"' })),
      isFailure('precondition-failed'),
    );
    assert.equal((await store.find(id)).name, 'second');
    await store.remove(id, parsePreconditions({ ifMatch: '"2"' }));
  });

  it('loses no concurrent change', async () => {
    const { id } = await create();
    const writers = 20;
    await Promise.all(Array.from({ length: writers }, (_, n) => store.update(id, { name: `writer ${n}` })));
    assert.equal((await store.find(id)).version, 1 + writers);

    const current = parsePreconditions({ ifMatch: `"${1 + writers}"` });
    const conditional = await Promise.allSettled(
      Array.from({ length: writers }, (_, n) => store.update(id, { name: `writer ${n}` }, current)),
    );
    assert.equal(conditional.filter(({ status }) => status === 'fulfilled').length, 1);
  });

  it('lists each user once in order of id while users are created', async () => {
    const before = await Promise.all(Array.from({ length: 7 }, () => create()));
    const seen: number[] = [];
    let after = Math.min(...before.map(({ id }) => id)) - 1;
    for (;;) {
      const page = await store.list({ after, limit: 3 });
      if (page.length === 0) break;
      seen.push(...page.map(({ id }) => id));
      after = seen.at(-1) ?? after;
      if (seen.length < 10) await create();
    }
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(seen).size, seen.length);
    for (const { id } of before) assert.ok(seen.includes(id));
  });

  it('lists users of one role', async () => {
    const { id } = await create({ role: 'admin' });
    const admins = await store.list({ limit: 1000, role: 'admin' });
    assert.ok(admins.some((user) => user.id === id));
    assert.ok(admins.every(({ role }) => role === 'admin'));
  });

  it('writes one event per version of a user and none for failed changes', async () => {
    const { id } = await create({ role: 'admin' });
    await store.update(id, { role: 'user' });
    await assert.rejects(store.update(id, { name: 'x' }, parsePreconditions({ ifMatch: '"9"' })));
    await store.remove(id);
    await assert.rejects(store.remove(id));
    const rows = await database.query((db) =>
      rowsOf<{ event: unknown }>(
        db,
        sql`select event from outbox where subject = ${`users/${id}`} order by position`,
      ),
    );
    const events = rows.map(({ event }) => eventEnvelope.parse(event));
    assert.deepEqual(
      events.map(({ type, source, sequence }) => [type, source, sequence]),
      [
        ['zerda.user.created.v1', '/user-service', '0000000001'],
        ['zerda.user.updated.v1', '/user-service', '0000000002'],
        ['zerda.user.deleted.v1', '/user-service', '0000000003'],
      ],
    );
    const [created, updated, deleted] = events.map(({ data }) => data);
    assert.equal(userEvents.userCreated.data.parse(created).role, 'admin');
    assert.equal(userEvents.userUpdated.data.parse(updated).role, 'user');
    assert.equal(userEvents.userDeleted.data.parse(deleted).id, id);
  });

  it('keeps the counter consistent after any concurrent history', async () => {
    const action = fc.record({
      kind: fc.constantFrom('create', 'create', 'remove', 'update', 'fail'),
      at: fc.nat({ max: 99 }),
    });
    const ids: number[] = [];
    const act = async ({ kind, at }: { kind: string; at: number }): Promise<void> => {
      const id = ids[at % Math.max(1, ids.length)];
      if (kind === 'create' || id === undefined) ids.push((await create()).id);
      else if (kind === 'update') await store.update(id, { name: `changed ${at}` });
      else if (kind === 'remove') await store.remove(id);
      else await create({ email: (await store.find(id)).email });
    };
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 32, maxLength: 64 }), async (history) => {
        const results = await Promise.allSettled(history.map(act));
        for (const result of results) {
          if (result.status === 'rejected')
            assert.ok(result.reason instanceof Failure, String(result.reason));
        }
        assert.equal(await store.count(), await recount());
      }),
      { numRuns: concurrentRuns(database, 15) },
    );
  });
});
