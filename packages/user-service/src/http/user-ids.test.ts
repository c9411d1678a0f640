import assert from 'node:assert/strict';
import { it } from 'node:test';
import { signedCallHeaders } from '@zerda/chassis/auth/signed-call';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { sendRequest } from '@zerda/chassis/testing/http';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { silentLogger } from '@zerda/chassis/testing/observed';
import { userIdsPath } from '@zerda/contracts/user-service/user-ids';
import { migrations } from '../../testing/app.ts';
import { createUserStore, insertUser, type UserStore } from '../store/user-store.ts';
import { createUserIds } from './user-ids.ts';

it('other services get only the ids of users, page by page', async (t) => {
  const database = await openTestPglite(migrations);
  let users: UserStore | undefined;
  const secrets = ['a secret of services, which is long enough'];
  const listener = createUserIds({ users: () => users, secrets, logger: silentLogger() });
  const { url } = await startHttpServer(t, listener);
  t.after(() => database.close());
  for (const name of ['Ada', 'Bob', 'Cleo'])
    await database.transaction((tx) =>
      insertUser(tx, { name, email: `${name}@example.com`.toLowerCase(), role: 'user' }),
    );

  async function fetchIds(query: string) {
    const target = `${userIdsPath}?${query}`;
    const headers = signedCallHeaders(target, secrets);
    const { status, body } = await sendRequest(url + target, { headers });
    return { status, body };
  }

  assert.equal((await fetchIds('after=0&limit=2')).status, 503, 'before the database is open');
  users = createUserStore(database);
  assert.deepEqual(await fetchIds('after=0&limit=2'), { status: 200, body: { ids: [1, 2] } });
  assert.deepEqual(await fetchIds('after=2&limit=100'), { status: 200, body: { ids: [3] } });
  assert.deepEqual(await fetchIds('after=3&limit=1'), { status: 200, body: { ids: [] } });
  for (const query of [
    'limit=1',
    'after=0',
    'after=-1&limit=1',
    'after=0&limit=101',
    'after=0&limit=1&role=admin',
  ])
    assert.equal((await fetchIds(query)).status, 400, query);
});
