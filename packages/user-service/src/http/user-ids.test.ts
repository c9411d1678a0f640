import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { it } from 'node:test';
import { openTestPglite } from '@zerda/chassis/database/testing';
import { signedCallHeaders } from '@zerda/chassis/events/signed-call';
import { silentLogger } from '@zerda/chassis/testing';
import { userIdsPath } from '@zerda/contracts/user-ids';
import { createUserStore, insertUser, type UserStore } from '../store/user-store.ts';
import { migrations } from '../testing.ts';
import { createUserIds } from './user-ids.ts';

it('other services get the ids of users, page by page, and nothing else of them', async (t) => {
  const database = await openTestPglite(migrations);
  let users: UserStore | undefined;
  const secrets = ['a secret of services, which is long enough'];
  const server = createServer(createUserIds({ users: () => users, secrets, logger: silentLogger() }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.close();
    await database.close();
  });
  for (const name of ['Ada', 'Bob', 'Cleo'])
    await database.write((tx) =>
      insertUser(tx, { name, email: `${name}@example.com`.toLowerCase(), role: 'user' }),
    );

  async function ask(query: string) {
    const target = `${userIdsPath}?${query}`;
    const { port } = server.address() as AddressInfo;
    const headers = { connection: 'close', ...signedCallHeaders(target, secrets) };
    const response = await fetch(`http://127.0.0.1:${port}${target}`, { headers });
    return { status: response.status, body: (await response.json()) as unknown };
  }

  assert.equal((await ask('after=0&limit=2')).status, 503, 'before the database is open');
  users = createUserStore(database);
  assert.deepEqual(await ask('after=0&limit=2'), { status: 200, body: { ids: [1, 2] } });
  assert.deepEqual(await ask('after=2&limit=100'), { status: 200, body: { ids: [3] } });
  assert.deepEqual(await ask('after=3&limit=1'), { status: 200, body: { ids: [] } });
  for (const query of [
    'limit=1',
    'after=0',
    'after=-1&limit=1',
    'after=0&limit=101',
    'after=0&limit=1&role=admin',
  ])
    assert.equal((await ask(query)).status, 400, query);
});
