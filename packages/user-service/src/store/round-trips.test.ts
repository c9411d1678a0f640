import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { describeOnEachEngine, urlOf } from '@zerda/chassis/testing/database';
import { type CountedDatabase, openCountedDatabase } from '@zerda/chassis/testing/round-trips';
import { migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { createUserStore } from './user-store.ts';

describeOnEachEngine('round trips to the database', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counted: CountedDatabase;

  before(async () => {
    counted = await openCountedDatabase(await urlOf(await openDatabase()));
  });
  after(() => counted.close());

  it('are four to create a user with a key, to change a user, and to delete one', async () => {
    const users = createUserStore(counted.database);
    const idempotency = createIdempotency(counted.database);
    const user = { name: 'Ada', email: 'ada@example.com', role: 'user' } as const;
    let id = 0;
    const create = async () => {
      const keyed = { key: '1', caller: 'x', method: 'POST', path: '/', body: user };
      const respond = (created: User) => ({ body: created.id });
      const options = { readsFirst: false };
      id = (await idempotency.run(keyed, (once) => users.create(user, { once }), respond, options)).body;
    };
    assert.equal(await counted.roundTripsOf(create), 4);
    assert.equal(await counted.roundTripsOf(() => users.update(id, { name: 'Ada L.' })), 4);
    assert.equal(await counted.roundTripsOf(() => users.remove(id)), 4);
  });
});
