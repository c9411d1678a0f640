import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { openPostgres, type PostgresDatabase } from '@zerda/chassis/database/postgres-database';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { describeOnEachEngine, urlOf } from '@zerda/chassis/testing/database';
import { silentLogger } from '@zerda/chassis/testing/observed';
import { countRoundTrips, type RoundTripCounter } from '@zerda/chassis/testing/round-trips';
import { migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { createUserStore } from './user-store.ts';

describeOnEachEngine('round trips to the database', { migrations, engines: ['postgres'] }, (openDatabase) => {
  let counter: RoundTripCounter;
  let database: PostgresDatabase;

  before(async () => {
    counter = await countRoundTrips(await urlOf(await openDatabase()));
    database = openPostgres({
      url: counter.url,
      statementTimeoutMs: 5000,
      poolSize: 1,
      connectTimeoutMs: 5000,
      preparedStatements: true,
      logger: silentLogger(),
    });
    await createUserStore(database).count();
  });
  after(async () => {
    await database.close();
    counter.close();
  });

  async function roundTripsOf(work: () => Promise<unknown>): Promise<number> {
    const before = counter.count;
    await work();
    return counter.count - before;
  }

  it('are four to create a user with a key, to change a user, and to delete one', async () => {
    const users = createUserStore(database);
    const idempotency = createIdempotency(database);
    const user = { name: 'Ada', email: 'ada@example.com', role: 'user' } as const;
    let id = 0;
    const create = async () => {
      const keyed = { key: '1', caller: 'x', method: 'POST', path: '/', body: user };
      const respond = (created: User) => ({ body: created.id });
      const options = { readsFirst: false };
      id = (await idempotency.run(keyed, (once) => users.create(user, { once }), respond, options)).body;
    };
    assert.equal(await roundTripsOf(create), 4);
    assert.equal(await roundTripsOf(() => users.update(id, { name: 'Ada L.' })), 4);
    assert.equal(await roundTripsOf(() => users.remove(id)), 4);
  });
});
