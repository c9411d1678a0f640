import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { recordingLogger } from '@zerda/chassis/testing';
import { sql } from 'drizzle-orm';
import { insertUser } from '../store/user-store.ts';
import { migrations } from '../testing.ts';
import { findAccount, setPassword } from './credentials.ts';
import { ensureFirstAdmin } from './first-admin.ts';
import { hashPassword, isPassword } from './password-hash.ts';

const email = 'admin@example.com';
const password = 'the first of all passwords';

describeOnEachEngine('the first admin', { migrations }, (open) => {
  let database: Database;
  const { logger, lines } = recordingLogger();

  before(async () => {
    database = await open();
  });
  beforeEach(async () => {
    lines.length = 0;
    await database.write((tx) => tx.execute(sql`truncate users, user_counters, outbox cascade`));
  });

  const ensure = (given = password) => ensureFirstAdmin({ database, logger, email, password: given });

  async function logsIn(given = password): Promise<boolean> {
    return isPassword(given, (await findAccount(database, { email }))?.passwordHash);
  }

  it('is made once, also by replicas that start together, and told of as every user is', async () => {
    await Promise.all([ensure(), ensure(), ensure()]);
    const account = await findAccount(database, { email });
    assert.equal(account?.user.role, 'admin');
    assert.ok(await logsIn());
    const rows = await database.read((db) =>
      rowsOf<{ type: string; users: number }>(
        db,
        sql`select type, (select sum(users) from user_counters)::int4 as users from outbox`,
      ),
    );
    assert.deepEqual(rows, [{ type: 'zerda.user.created.v1', users: 1 }]);
  });

  it('keeps the password that they have chosen since', async () => {
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    const chosen = await hashPassword('another of my own');
    await database.write((tx) => setPassword(tx, user.id, chosen));
    await ensure();
    assert.ok(await logsIn('another of my own'));
  });

  it('is a user who is there and has no password yet', async () => {
    const { id } = await database.write((tx) => insertUser(tx, { name: 'Alice', email, role: 'user' }));
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    assert.deepEqual([user.id, user.role, user.name], [id, 'admin', 'Alice']);
    assert.ok(await logsIn());
  });

  it('does not come back after they were deleted, demoted or renamed, while another admin can log in', async () => {
    await ensure();
    const { user } = (await findAccount(database, { email })) ?? assert.fail();
    const other = await database.write(async (tx) => {
      const inserted = await insertUser(tx, { name: 'Other', email: 'other@example.com', role: 'admin' });
      await setPassword(tx, inserted.id, await hashPassword('the password of the other'));
      return inserted;
    });
    await database.write((tx) => tx.execute(sql`delete from users where id = ${user.id}`));
    await ensure();
    assert.equal(await findAccount(database, { email }), undefined);
    await database.write((tx) => tx.execute(sql`delete from users where id = ${other.id}`));
    await ensure();
    assert.ok(await logsIn(), 'without any admin they are created again');
  });

  it('is not somebody who has signed up with that address before', async () => {
    const { id } = await database.write((tx) => insertUser(tx, { name: 'Mallory', email, role: 'user' }));
    const theirs = await hashPassword('the password of mallory');
    await database.write((tx) => setPassword(tx, id, theirs));
    await ensure();
    assert.equal((await findAccount(database, { email }))?.user.role, 'user');
    assert.equal(await logsIn(), false);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn'],
    );
  });
});
