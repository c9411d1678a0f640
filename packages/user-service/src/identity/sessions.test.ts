import assert from 'node:assert/strict';
import { before, beforeEach, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { isFailure, recordingLogger } from '@zerda/chassis/testing/observed';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { insertUser } from '../store/user-store.ts';
import { cleanIdentity } from './clean-identity.ts';
import { createKeySecrets } from './key-secrets.ts';
import { createSessions, endSessionsOf, type Sessions } from './sessions.ts';

const sessionEnded = isFailure('session-ended');
const secret = 'the secret of the sessions of this test';

describeOnEachEngine('sessions', { migrations }, (openDatabase) => {
  let database: Database;
  let sessions: Sessions;
  let user: User;
  let lines: Record<string, unknown>[];
  let serial = 0;

  function sessionsWith({
    secrets = [secret],
    repeatWindowMs = 10_000,
  }: {
    secrets?: string[];
    repeatWindowMs?: number;
  } = {}) {
    const recorded = recordingLogger();
    lines = recorded.lines;
    const keySecrets = createKeySecrets(secrets as [string, ...string[]]);
    return createSessions({
      database,
      secrets: keySecrets,
      seconds: 3600,
      logger: recorded.logger,
      repeatWindowMs,
    });
  }

  before(async () => {
    database = await openDatabase();
  });
  beforeEach(async () => {
    serial += 1;
    const newUser = { name: 'Ada', email: `ada${serial}@example.com`, role: 'user' as const };
    user = await database.transaction((tx) => insertUser(tx, newUser));
    sessions = sessionsWith();
  });

  const begin = () => database.transaction((tx) => sessions.begin(tx, user));

  const age = (seconds: number) =>
    database.transaction((tx) =>
      tx.execute(
        sql`update sessions set rotated_at = rotated_at - make_interval(secs => ${seconds}) where user_id = ${user.id}`,
      ),
    );

  it('continue with each refresh and return the current user until they expire', async () => {
    let { refreshToken, endsInSeconds } = await begin();
    assert.equal(endsInSeconds, 3600);
    await database.transaction((tx) =>
      tx.execute(sql`update users set role = 'admin' where id = ${user.id}`),
    );
    for (let times = 0; times < 5; times += 1) {
      const next = await sessions.refresh(refreshToken);
      assert.deepEqual(next.user, { id: user.id, role: 'admin' });
      assert.notEqual(next.refreshToken, refreshToken);
      ({ refreshToken, endsInSeconds } = next);
      assert.ok(endsInSeconds > 3500 && endsInSeconds <= 3600);
    }
    await database.transaction((tx) =>
      tx.execute(sql`update sessions set expires_at = now() where user_id = ${user.id}`),
    );
    await assert.rejects(sessions.refresh(refreshToken), sessionEnded);
    assert.ok((await cleanIdentity(database)) >= 1);
  });

  it('return the same next token to a client that repeats a refresh, also concurrently', async () => {
    const { refreshToken } = await begin();
    const [refreshed, repeated, ofAnotherReplica] = await Promise.all([
      sessions.refresh(refreshToken),
      sessions.refresh(refreshToken),
      sessionsWith().refresh(refreshToken),
    ]);
    assert.equal(repeated.refreshToken, refreshed.refreshToken);
    assert.equal(ofAnotherReplica.refreshToken, refreshed.refreshToken);
    await sessions.refresh(refreshed.refreshToken);
  });

  it('return the same next token while the secret is replaced', async () => {
    const { refreshToken } = await begin();
    const first = await sessions.refresh(refreshToken);
    const replaced = sessionsWith({ secrets: ['another secret of the sessions of the test', secret] });
    assert.equal((await replaced.refresh(refreshToken)).refreshToken, first.refreshToken);
    await replaced.refresh(first.refreshToken);
  });

  it('end when a token is reused after the repeat window', async () => {
    const { refreshToken } = await begin();
    const next = await sessions.refresh(refreshToken);
    await age(11);
    await assert.rejects(sessions.refresh(refreshToken), sessionEnded);
    await assert.rejects(sessions.refresh(next.refreshToken), sessionEnded, 'for both clients');
    assert.deepEqual(
      lines.map(({ level, user_id }) => [level, user_id]),
      [['warn', user.id]],
    );
  });

  it('end when a token is reused after the next one was used, within the repeat window too', async () => {
    const { refreshToken } = await begin();
    const second = await sessions.refresh(refreshToken);
    const third = await sessions.refresh(second.refreshToken);
    await assert.rejects(sessions.refresh(refreshToken), sessionEnded);
    await assert.rejects(sessions.refresh(third.refreshToken), sessionEnded);
  });

  it('detect a thief within the repeat window at the next refresh', async () => {
    const { refreshToken: stolen } = await begin();
    const owner = await sessions.refresh(stolen);
    const thief = await sessions.refresh(stolen);
    assert.equal(thief.refreshToken, owner.refreshToken);
    await sessions.refresh(thief.refreshToken);
    await age(11);
    await assert.rejects(sessions.refresh(owner.refreshToken), sessionEnded);
  });

  it('of one user end separately or together', async () => {
    const [ended, active, idle] = await Promise.all([begin(), begin(), begin()]);
    await sessions.end(ended.refreshToken);
    await assert.rejects(sessions.refresh(ended.refreshToken), sessionEnded);
    const next = await sessions.refresh(active.refreshToken);
    await database.transaction((tx) => endSessionsOf(tx, user.id));
    await assert.rejects(sessions.refresh(next.refreshToken), sessionEnded);
    await assert.rejects(sessions.refresh(idle.refreshToken), sessionEnded);
  });

  it('end with an old refresh token too', async () => {
    const { refreshToken } = await begin();
    const next = await sessions.refresh(refreshToken);
    await sessions.end(refreshToken);
    await assert.rejects(sessions.refresh(next.refreshToken), sessionEnded);
  });

  it('are limited to 50 per user; the oldest one ends', async () => {
    const first = await begin();
    await database.transaction((tx) =>
      tx.execute(
        sql`update sessions set created_at = created_at - interval '1 minute' where user_id = ${user.id}`,
      ),
    );
    for (let count = 0; count < 49; count += 1) await begin();
    const { refreshToken } = await sessions.refresh(first.refreshToken);
    await begin();
    await assert.rejects(sessions.refresh(refreshToken), sessionEnded);
  });
});
