import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { countWrites, describeOnEachEngine } from '@zerda/chassis/database/testing';
import { Failure } from '@zerda/chassis/failure';
import { parsePreconditions } from '@zerda/chassis/http/entity-tag';
import { isFailure } from '@zerda/chassis/testing';
import { eventEnvelope } from '@zerda/contracts/events/envelope';
import { userEvents } from '@zerda/contracts/events/users';
import type { NewUser } from '@zerda/contracts/users';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { migrations } from '../testing.ts';
import { type StoredUser, users } from './tables.ts';
import { createUserStore, type UserStore } from './user-store.ts';

let serial = 0;

function anybody(user: Partial<NewUser> = {}): NewUser {
  serial += 1;
  return { name: `User ${serial}`, email: `user${serial}@example.com`, role: 'user', ...user };
}

describeOnEachEngine('user store', { migrations }, (open) => {
  let database: Database;
  let store: UserStore;

  before(async () => {
    database = await open();
    store = createUserStore(database);
  });

  async function create(user: Partial<NewUser> = {}): Promise<StoredUser> {
    const { body } = await store.create(anybody(user), undefined, (stored) => ({ body: stored }));
    return body;
  }

  async function recount(): Promise<number> {
    const [row] = await database.read((db) => db.select({ users: sql<number>`count(*)` }).from(users));
    return row?.users ?? Number.NaN;
  }

  it('finds what was created, as version 1', async () => {
    const user = await create({ role: 'admin' });
    assert.equal(user.version, 1);
    assert.deepEqual(await store.find(user.id), user);
  });

  it('refuses an e-mail address that another user has, whatever its letter case', async () => {
    const { email } = await create();
    const other = await create();
    await assert.rejects(create({ email }), isFailure('email-taken'));
    await assert.rejects(create({ email: email.toUpperCase() }), isFailure('email-taken'));
    await assert.rejects(store.update(other.id, { email: email.toUpperCase() }), isFailure('email-taken'));
    assert.deepEqual(await store.find(other.id), other);
  });

  it('lets a user change the letter case of the own e-mail address', async () => {
    const { id, email } = await create();
    assert.equal((await store.update(id, { email: email.toUpperCase() })).email, email.toUpperCase());
  });

  it('uses one connection for concurrent changes of one user', async () => {
    const counting = countWrites(database);
    const counted = createUserStore(counting.database);
    const { id } = await create();
    await Promise.all(
      Array.from({ length: 10 }, (_, index) => counted.update(id, { name: `Change ${index}` })),
    );
    assert.equal(counting.mostWrites, 1);
    assert.equal((await store.find(id)).version, 11);
    await Promise.all([counted.remove(id), assert.rejects(counted.remove(id), isFailure('user-not-found'))]);
    assert.equal(counting.mostWrites, 1);
  });

  it('prepares a write only when neither its key nor its e-mail address is known', async () => {
    let prepared = 0;
    const prepare = async () => {
      prepared += 1;
      return async () => undefined;
    };
    const user = anybody();
    const keyed = { key: 'prepared', caller: 'x', method: 'POST', path: '/api/users', body: user };
    const post = (newUser: NewUser, request?: typeof keyed) =>
      store.create(newUser, request, ({ id }) => ({ body: id }), { prepare });
    const first = await post(user, keyed);
    assert.deepEqual(await post(user, keyed), { ...first, replayed: true });
    await assert.rejects(post(anybody({ email: user.email.toUpperCase() })), isFailure('email-taken'));
    assert.equal(prepared, 1);
  });

  it('changes what is given and raises the version', async () => {
    const user = await create();
    const changed = await store.update(user.id, { name: 'New Name' });
    assert.deepEqual(
      { ...changed, updatedAt: undefined },
      { ...user, name: 'New Name', version: 2, updatedAt: undefined },
    );
    assert.ok(changed.updatedAt >= user.updatedAt);
  });

  it('takes a user out of lists and the count when removed', async () => {
    const user = await create();
    const counted = await store.count();
    await store.remove(user.id);
    assert.equal(await store.count(), counted - 1);
    await assert.rejects(store.find(user.id), isFailure('user-not-found'));
    await assert.rejects(store.update(user.id, { name: 'x' }), isFailure('user-not-found'));
    await assert.rejects(store.remove(user.id), isFailure('user-not-found'));
  });

  it('writes on the version that was named, and on no other', async () => {
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

  it('loses no change of writers at the same time', async () => {
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

  it('lists page by page in the order of ids, each user once, though users come and go meanwhile', async () => {
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

  it('tells of each version of a user in one event, and of nothing that did not happen', async () => {
    const { id } = await create({ role: 'admin' });
    await store.update(id, { role: 'user' });
    await assert.rejects(store.update(id, { name: 'x' }, parsePreconditions({ ifMatch: '"9"' })));
    await store.remove(id);
    await assert.rejects(store.remove(id));
    const rows = await database.read((db) =>
      rowsOf<{ event: unknown }>(
        db,
        sql`select event from outbox where subject = ${`users/${id}`} order by position`,
      ),
    );
    const told = rows.map(({ event }) => eventEnvelope.parse(event));
    assert.deepEqual(
      told.map(({ type, source, sequence }) => [type, source, sequence]),
      [
        ['zerda.user.created.v1', '/user-service', '0000000001'],
        ['zerda.user.updated.v1', '/user-service', '0000000002'],
        ['zerda.user.deleted.v1', '/user-service', '0000000003'],
      ],
    );
    const [created, updated, deleted] = told.map(({ data }) => data);
    assert.equal(userEvents.userCreated.data.parse(created).role, 'admin');
    assert.equal(userEvents.userUpdated.data.parse(updated).role, 'user');
    assert.equal(userEvents.userDeleted.data.parse(deleted).id, id);
  });

  it('counts as a recount does after any history, also of writers at the same time', async () => {
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
      { numRuns: 15 },
    );
  });
});
