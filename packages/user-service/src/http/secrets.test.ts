import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { sql } from 'drizzle-orm';
import request from 'supertest';
import { createTestApp, migrations } from '../../testing/app.ts';

it('logs of failed statements contain no passwords, hashes, tokens or addresses', async (t) => {
  const database = await openTestPglite(migrations);
  t.after(() => database.close());
  const { logger, lines } = recordingLogger();
  const { app } = createTestApp(database, { AUTH: 'off' }, logger);
  const user = { name: 'Dora', email: 'planted.mail@example.com', password: 'unmistakable-3817' };
  const post = (path: string, body: object) =>
    request(app).post(path).set('x-forwarded-for', '192.0.2.99').send(body);
  await post('/api/users', user).expect(201);
  const { body } = await post(
    '/api/auth/login',
    user.password ? { email: user.email, password: user.password } : {},
  );
  const { refresh_token } = body.data;

  for (const renaming of [
    sql`alter table credentials rename column password_hash to gone`,
    sql`alter table sessions rename column token_hash to lost`,
  ])
    await database.transaction((tx) => tx.execute(renaming));
  const statuses = [
    await post('/api/users', { ...user, email: 'planted.mail2@example.com' }),
    await post('/api/auth/login', { email: user.email, password: user.password }),
    await post('/api/auth/refresh', { refresh_token }),
  ].map(({ status, text }) => {
    assert.ok(!/unmistakable|planted|argon2|credentials|sessions/.test(text), text);
    return status;
  });
  assert.deepEqual(statuses, [500, 500, 500]);
  const faults = lines.filter(({ msg }) => msg === 'fault');
  assert.equal(faults.length, 3);
  const logged = JSON.stringify(lines);
  assert.doesNotMatch(logged, /unmistakable|planted|\$argon2id|192\.0\.2\.99/);
  for (const part of refresh_token.split('.')) assert.ok(!logged.includes(part));
  assert.match(logged, /Failed query: insert into/);
});
