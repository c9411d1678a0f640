import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/database/testing';
import { isFailure, recordingLogger } from '@zerda/chassis/testing';
import { sql } from 'drizzle-orm';
import type { StoredUser } from '../store/tables.ts';
import { insertUser } from '../store/user-store.ts';
import { migrations } from '../testing.ts';
import { cleanIdentity } from './clean-identity.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createSessions, endSessionsOf, type Sessions } from './sessions.ts';

const ended = isFailure('session-ended');
const secret = 'the secret of the sessions of this test';

describeOnEachEngine('sessions', { migrations }, (open) => {
  let database: Database;
  let sessions: Sessions;
  let user: StoredUser;
  let lines: Record<string, unknown>[];
  let serial = 0;

  function sessionsWith({
    secrets = [secret],
    repeatMs = 10_000,
  }: {
    secrets?: string[];
    repeatMs?: number;
  } = {}) {
    const recorded = recordingLogger();
    lines = recorded.lines;
    const keySecrets = createKeySecrets(secrets as [string, ...string[]]);
    return createSessions({
      database,
      secrets: keySecrets,
      seconds: 3600,
      logger: recorded.logger,
      repeatMs,
    });
  }

  before(async () => {
    database = await open();
  });
  beforeEach(async () => {
    serial += 1;
    const newUser = { name: 'Ada', email: `ada${serial}@example.com`, role: 'user' as const };
    user = await database.write((tx) => insertUser(tx, newUser));
    sessions = sessionsWith();
  });

  const begin = () => database.write((tx) => sessions.begin(tx, user));

  const age = (seconds: number) =>
    database.write((tx) =>
      tx.execute(
        sql`update sessions set rotated_at = rotated_at - make_interval(secs => ${seconds}) where user_id = ${user.id}`,
      ),
    );

  it('go on with each refresh, with the user as they are then, until they end', async () => {
    let { refreshToken, endsInSeconds } = await begin();
    assert.equal(endsInSeconds, 3600);
    await database.write((tx) => tx.execute(sql`update users set role = 'admin' where id = ${user.id}`));
    for (let times = 0; times < 5; times += 1) {
      const next = await sessions.refresh(refreshToken);
      assert.deepEqual(next.user, { id: user.id, role: 'admin' });
      assert.notEqual(next.refreshToken, refreshToken);
      ({ refreshToken, endsInSeconds } = next);
      assert.ok(endsInSeconds > 3500 && endsInSeconds <= 3600);
    }
    await database.write((tx) =>
      tx.execute(sql`update sessions set expires_at = now() where user_id = ${user.id}`),
    );
    await assert.rejects(sessions.refresh(refreshToken), ended);
    assert.ok((await cleanIdentity(database)) >= 1);
  });

  it('give a client that missed the answer the very same next token, also when it asks twice at once', async () => {
    const { refreshToken } = await begin();
    const [one, two, three] = await Promise.all([
      sessions.refresh(refreshToken),
      sessions.refresh(refreshToken),
      sessionsWith().refresh(refreshToken),
    ]);
    assert.equal(one.refreshToken, two.refreshToken);
    assert.equal(one.refreshToken, three.refreshToken);
    await sessions.refresh(one.refreshToken);
  });

  it('give it also while the secret is replaced', async () => {
    const { refreshToken } = await begin();
    const first = await sessions.refresh(refreshToken);
    const replaced = sessionsWith({ secrets: ['another secret of the sessions of the test', secret] });
    assert.equal((await replaced.refresh(refreshToken)).refreshToken, first.refreshToken);
    await replaced.refresh(first.refreshToken);
  });

  it('end when a token comes again later, for one of its users has stolen it', async () => {
    const { refreshToken } = await begin();
    const next = await sessions.refresh(refreshToken);
    await age(11);
    await assert.rejects(sessions.refresh(refreshToken), ended);
    await assert.rejects(sessions.refresh(next.refreshToken), ended, 'for both of them');
    assert.deepEqual(
      lines.map(({ level, user_id }) => [level, user_id]),
      [['warn', user.id]],
    );
  });

  it('end when a token comes again although the next one was used, however soon', async () => {
    const { refreshToken } = await begin();
    const second = await sessions.refresh(refreshToken);
    const third = await sessions.refresh(second.refreshToken);
    await assert.rejects(sessions.refresh(refreshToken), ended);
    await assert.rejects(sessions.refresh(third.refreshToken), ended);
  });

  it('meet a thief who is quick at the next refresh: there is never a second token that is good', async () => {
    const { refreshToken: stolen } = await begin();
    const owner = await sessions.refresh(stolen);
    const thief = await sessions.refresh(stolen);
    assert.equal(thief.refreshToken, owner.refreshToken);
    await sessions.refresh(thief.refreshToken);
    await age(11);
    await assert.rejects(sessions.refresh(owner.refreshToken), ended);
  });

  it('of one user are apart, and are ended together or one by one', async () => {
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => begin()));
    await sessions.end(one?.refreshToken ?? '');
    await assert.rejects(sessions.refresh(one?.refreshToken ?? ''), ended);
    const next = await sessions.refresh(two?.refreshToken ?? '');
    await database.write((tx) => endSessionsOf(tx, user.id));
    await assert.rejects(sessions.refresh(next.refreshToken), ended);
    await assert.rejects(sessions.refresh(three?.refreshToken ?? ''), ended);
  });

  it('are ended by an old token too, which is what a client may have kept', async () => {
    const { refreshToken } = await begin();
    const next = await sessions.refresh(refreshToken);
    await sessions.end(refreshToken);
    await assert.rejects(sessions.refresh(next.refreshToken), ended);
  });

  it('are fifty at most, of which the oldest ends', async () => {
    const first = await begin();
    await database.write((tx) =>
      tx.execute(
        sql`update sessions set created_at = created_at - interval '1 minute' where user_id = ${user.id}`,
      ),
    );
    for (let count = 0; count < 49; count += 1) await begin();
    const { refreshToken } = await sessions.refresh(first.refreshToken);
    await begin();
    await assert.rejects(sessions.refresh(refreshToken), ended);
  });
});
