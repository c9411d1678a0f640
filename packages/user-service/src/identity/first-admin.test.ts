import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { insertUser } from '../store/user-store.ts';
import { findAccount, setPassword } from './credentials.ts';
import { ensureFirstAdmin } from './first-admin.ts';
import { hashPassword, isPassword } from './password-hash.ts';

const email = 'admin@example.com';
const password = 'the first of all passwords';

describeOnEachEngine('the first admin', { migrations }, (openDatabase) => {
  let database: Database;
  const { logger, lines } = recordingLogger();

  before(async () => {
    database = await openDatabase();
  });
  beforeEach(async () => {
    lines.length = 0;
    await database.transaction((tx) => tx.execute(sql`truncate users, user_counters, outbox cascade`));
  });

  const ensure = () => ensureFirstAdmin({ database, logger, email, password });

  async function canLogIn(candidate = password): Promise<boolean> {
    return isPassword(candidate, (await findAccount(database, { email }))?.passwordHash);
  }

  it('is created once with one event when replicas start concurrently', async () => {
    await Promise.all([ensure(), ensure(), ensure()]);
    const account = await findAccount(database, { email });
    assert.equal(account?.user.role, 'admin');
    assert.ok(await canLogIn());
    const rows = await database.query((db) =>
      rowsOf<{ type: string; users: number }>(
        db,
        sql`select type, (select sum(users) from user_counters)::int4 as users from outbox`,
      ),
    );
    assert.deepEqual(rows, [{ type: 'zerda.user.created.v1', users: 1 }]);
  });

  it('keeps a password that was changed later', async () => {
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    const chosen = await hashPassword('another of my own');
    await database.transaction((tx) => setPassword(tx, user.id, chosen));
    await ensure();
    assert.ok(await canLogIn('another of my own'));
  });

  it('is the existing user with the address if that user has no password', async () => {
    const { id } = await database.transaction((tx) => insertUser(tx, { name: 'Alice', email, role: 'user' }));
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    assert.deepEqual([user.id, user.role, user.name], [id, 'admin', 'Alice']);
    assert.ok(await canLogIn());
  });

  it('is not restored after deletion while another admin can log in', async () => {
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    const other = await database.transaction(async (tx) => {
      const inserted = await insertUser(tx, { name: 'Other', email: 'other@example.com', role: 'admin' });
      await setPassword(tx, inserted.id, await hashPassword('the password of the other'));
      return inserted;
    });
    await database.transaction((tx) => tx.execute(sql`delete from users where id = ${user.id}`));
    await ensure();
    assert.equal(await findAccount(database, { email }), undefined);
    await database.transaction((tx) => tx.execute(sql`delete from users where id = ${other.id}`));
    await ensure();
    assert.ok(await canLogIn(), 'created again without any other admin');
  });

  it('is not a user who signed up with the address and a password', async () => {
    const { id } = await database.transaction((tx) =>
      insertUser(tx, { name: 'Mallory', email, role: 'user' }),
    );
    const malloryHash = await hashPassword('the password of mallory');
    await database.transaction((tx) => setPassword(tx, id, malloryHash));
    await ensure();
    assert.equal((await findAccount(database, { email }))?.user.role, 'user');
    assert.equal(await canLogIn(), false);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn'],
    );
  });
});
