import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { openTestPglite } from '@zerda/chassis/database/testing';
import { sql } from 'drizzle-orm';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import request from 'supertest';
import { createTestApp, migrations } from '../testing.ts';

let database: Database;
let service: ReturnType<typeof createTestApp>;

before(async () => {
  database = await openTestPglite(migrations);
  service = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
});
after(() => database.close());

const password = 'correct horse battery';
let serial = 0;

/** Somebody who has signed up. */
async function somebody(members: object = {}) {
  serial += 1;
  const user = { name: `Somebody ${serial}`, email: `somebody${serial}@example.com`, password, ...members };
  // More sign up here than from any one address.
  if (serial % 10 === 0) await resetLimits();
  const { body } = await request(service.app).post('/api/users').send(user).expect(201);
  return { ...user, id: body.data.id as number };
}

async function resetLimits(): Promise<void> {
  await database.write((tx) => tx.execute(sql`truncate login_attempts`));
  service = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
}

const post = (path: string, body: object) => request(service.app).post(path).send(body);
const logIn = (email: string, given = password) => post('/api/auth/login', { email, password: given });
const refresh = (refresh_token: string) => post('/api/auth/refresh', { refresh_token });
const tokenHeader = (token: string) => ['authorization', `Bearer ${token}`] as const;

async function tokensOf(email: string, given?: string) {
  const { body } = await logIn(email, given).expect(200);
  return body.data as { access_token: string; refresh_token: string; expires_in: number };
}

describe('POST /api/auth/login', () => {
  it('answers a token that anybody can check by the keys, and which says who it is', async () => {
    const { id, email } = await somebody();
    const { body, headers } = await logIn(email.toUpperCase()).expect(200);
    assert.equal(headers['cache-control'], 'no-store');
    const { access_token: token, token_type, expires_in } = body.data;
    assert.deepEqual([token_type, expires_in], ['Bearer', 600]);
    const { body: keys } = await request(service.app).get('/.well-known/jwks.json').expect(200);
    const { payload } = await jwtVerify(token, createLocalJWKSet(keys), {
      issuer: service.config.AUTH_ISSUER,
      audience: 'zerda',
      algorithms: ['EdDSA'],
      typ: 'at+jwt',
    });
    const { iat = 0, exp = 0 } = payload;
    assert.deepEqual([payload.sub, payload.role, payload.user_id, exp - iat], [String(id), 'user', id, 600]);
    for (const key of keys.keys) assert.equal(key.d, undefined, 'no private part');
    await request(service.app)
      .get(`/api/users/${id}`)
      .set(...tokenHeader(token))
      .expect(200);
  });

  it('answers the same for a wrong password, an unknown user, and one without a password', async () => {
    const known = await somebody();
    const silent = await somebody({ password: undefined });
    const answers = await Promise.all([
      logIn(known.email, 'not the password'),
      logIn('nobody@example.com'),
      logIn(silent.email),
    ]);
    const seen = answers.map(({ status, body, headers }) => {
      const { correlation_id: _id, ...problem } = body;
      return { status, problem, challenge: headers['www-authenticate'] };
    });
    assert.equal(seen[0]?.status, 401);
    assert.equal(seen[0]?.problem.type, '/problems/login-failed');
    assert.deepEqual(seen[1], seen[0]);
    assert.deepEqual(seen[2], seen[0]);
  });

  it('takes one password in whichever way a keyboard writes it', async () => {
    const composed = 'caf\u00e9 au lait noir';
    const { email } = await somebody({ password: composed });
    await logIn(email, 'cafe\u0301 au lait noir').expect(200);
    await logIn(email, 'cafe au lait noir').expect(401);
  });

  it('gives an admin the role, and a user who is none any more no more than that', async () => {
    const user = await somebody();
    await database.write((tx) => tx.execute(sql`update users set role = 'admin' where id = ${user.id}`));
    const { access_token, refresh_token } = await tokensOf(user.email);
    assert.equal(decodeJwt(access_token).role, 'admin');
    await database.write((tx) => tx.execute(sql`update users set role = 'user' where id = ${user.id}`));
    const { body } = await refresh(refresh_token).expect(200);
    assert.equal(decodeJwt(body.data.access_token).role, 'user');
  });
});

describe('POST /api/auth/refresh', () => {
  it('gives the next pair, and takes each refresh token once: the second use ends the session', async () => {
    const { email } = await somebody();
    const { refresh_token: first } = await tokensOf(email);
    const { refresh_token: second } = (await refresh(first).expect(200)).body.data;
    const { refresh_token: third } = (await refresh(second).expect(200)).body.data;
    assert.equal(new Set([first, second, third]).size, 3);
    assert.equal((await refresh(first).expect(401)).body.type, '/problems/session-ended');
    await refresh(third).expect(401);
  });

  it('refuses what is no refresh token', async () => {
    const { access_token } = await tokensOf((await somebody()).email);
    for (const token of ['x', access_token.slice(0, 512), `${'a'.repeat(43)}.${'b'.repeat(43)}`]) {
      const { body, headers } = await refresh(token).expect(401);
      assert.equal(body.type, '/problems/session-ended');
      assert.match(headers['www-authenticate'] ?? '', /^Bearer/);
    }
    await post('/api/auth/refresh', { refresh_token: '' }).expect(422);
  });

  it('uses up no refresh token while there is no key to sign with', async () => {
    const { refresh_token } = await tokensOf((await somebody()).email);
    const broken = createTestApp(database, { AUTH_KEY_SECRET: 'a secret that is not the one of the keys' });
    const { body, headers } = await request(broken.app)
      .post('/api/auth/refresh')
      .send({ refresh_token })
      .expect(503);
    assert.equal(body.type, '/problems/identity-unavailable');
    assert.ok(Number(headers['retry-after']) > 0);
    await database.write((tx) =>
      tx.execute(sql`update sessions set rotated_at = rotated_at - interval '1 hour'`),
    );
    await refresh(refresh_token).expect(200);
  });

  it('keeps no token that could be used', async () => {
    const { refresh_token } = await tokensOf((await somebody()).email);
    const rows = await database.read((db) =>
      rowsOf<{ row: string }>(db, sql`select row_to_json(s)::text as row from sessions s`),
    );
    const stored = rows.map(({ row }) => row).join();
    for (const part of refresh_token.split('.')) assert.ok(!stored.includes(part));
  });
});

describe('POST /api/auth/logout', () => {
  it('ends this session and no other, and says the same of a token that nobody knows', async () => {
    const { email } = await somebody();
    const [here, there] = [await tokensOf(email), await tokensOf(email)];
    const { body } = await post('/api/auth/logout', { refresh_token: here.refresh_token }).expect(200);
    assert.deepEqual(body, { status: 'success', data: { message: 'Logged out' } });
    await refresh(here.refresh_token).expect(401);
    await refresh(there.refresh_token).expect(200);
    const again = await post('/api/auth/logout', { refresh_token: here.refresh_token }).expect(200);
    const unknown = await post('/api/auth/logout', { refresh_token: 'x' }).expect(200);
    assert.deepEqual([again.body, unknown.body], [body, body]);
  });
});

describe('a password', () => {
  it('is refused when it is common, known of its owner, or too short, and asked for nothing else', async () => {
    for (const [given, reason] of [
      ['short', /8 to 128/],
      ['password1', /commonest/],
      ['P@ssw0rd!2024', /commonest/],
      ['bcdefghijk', /row/],
      ['margaret@example.com', /own/],
    ] as const) {
      const user = { name: 'Margaret Hamilton', email: 'margaret@example.com', password: given };
      const { body } = await post('/api/users', user).expect(422);
      assert.equal(body.errors[0].path, 'password');
      assert.match(body.errors[0].message, reason);
      assert.ok(!JSON.stringify(body).includes(given));
    }
    for (const given of [
      'all lower case letters',
      '🦊🐫🌵🌙 🐢🦂🐍🦎',
      'x9'.repeat(10).concat('b'.repeat(100)),
    ])
      await somebody({ password: given });
  });

  it('is changed by its owner who knows it, and ends their sessions', async () => {
    const { id, email } = await somebody();
    const { access_token, refresh_token } = await tokensOf(email);
    const change = (body: object) =>
      request(service.app)
        .put(`/api/users/${id}`)
        .set(...tokenHeader(access_token))
        .send(body);
    const next = 'the next long password';
    for (const current_password of [undefined, 'not the one']) {
      const { body } = await change({ password: next, current_password }).expect(422);
      assert.equal(body.errors[0].path, 'current_password');
    }
    await change({ password: 'password123', current_password: password }).expect(422);
    await refresh(refresh_token).expect(200);
    await change({ password: next, current_password: password }).expect(200);
    await refresh(refresh_token).expect(401);
    await logIn(email).expect(401);
    await logIn(email, next).expect(200);
  });

  it('cannot be found out by a stolen access token, trying one after the other', async () => {
    const { id, email } = await somebody();
    const { access_token } = await tokensOf(email);
    const statuses: number[] = [];
    for (let guess = 0; guess < 8; guess += 1) {
      const { status } = await request(service.app)
        .put(`/api/users/${id}`)
        .set(...tokenHeader(access_token))
        .send({ password: 'taken over for good', current_password: `guess ${guess}` });
      statuses.push(status);
    }
    assert.deepEqual(statuses, [422, 422, 422, 422, 422, 429, 429, 429]);
  });

  it('is no part of an answer, a list, an event, or what is kept of an idempotent request', async () => {
    serial += 1;
    const user = { name: 'Kept', email: `kept${serial}@example.com`, password: 'unmistakable-7261' };
    const { text } = await post('/api/users', user).set('idempotency-key', 'with-password').expect(201);
    const again = await post('/api/users', user).set('idempotency-key', 'with-password').expect(201);
    assert.equal(again.headers['idempotency-replayed'], 'true');
    const rows = await database.read((db) =>
      rowsOf<{ row: string }>(
        db,
        sql`
        select row_to_json(k)::text as row from idempotency_keys k union all
        select row_to_json(o)::text from outbox o union all select row_to_json(u)::text from users u`,
      ),
    );
    const stored = rows.map(({ row }) => row).join();
    assert.ok(!`${text}${stored}`.includes('unmistakable'));
    assert.ok(!stored.includes('argon2'));
    const { createHash } = await import('node:crypto');
    const fingerprint = createHash('sha256')
      .update(JSON.stringify({ email: user.email, name: user.name, password: user.password, role: 'user' }))
      .digest('base64');
    assert.ok(!stored.includes(fingerprint), 'nor a hash that guesses could be tried against quickly');
  });

  // draft-ietf-httpapi-idempotency-key-header-07, section 2.7: a key that is used again with a different payload is an error.
  it('is part of what an Idempotency-Key stands for: 422 with another one, or none, also while the secret is replaced', async () => {
    serial += 1;
    const user = { name: 'Once', email: `once${serial}@example.com`, password: 'the first of two' };
    const create = (app: typeof service.app, members: object) =>
      request(app)
        .post('/api/users')
        .set('idempotency-key', `password ${serial}`.replace(' ', '-'))
        .send({ ...user, ...members });
    await create(service.app, {}).expect(201);
    for (const other of ['the second of two', undefined]) {
      const { body } = await create(service.app, { password: other }).expect(422);
      assert.equal(body.type, '/problems/idempotency-key-reused');
    }
    const [before, now] = [service.config.AUTH_KEY_SECRET ?? '', 'another secret of a test, long enough'];
    const env = { AUTH: 'required', AUTH_SIGN_UP: 'true', AUTH_KEY_SECRET: now };
    const { app: rotated } = createTestApp(database, { ...env, AUTH_KEY_SECRET_PREVIOUS: before });
    const again = await create(rotated, {}).expect(201);
    assert.equal(again.headers['idempotency-replayed'], 'true');
    await create(rotated, { password: 'the second of two' }).expect(422);
  });
});

describe('an e-mail address', () => {
  const update = (id: number, token: string, body: object) =>
    request(service.app)
      .put(`/api/users/${id}`)
      .set(...tokenHeader(token))
      .send(body);

  it('is changed by its user with the current password, and not by an access token alone', async () => {
    const { id, email } = await somebody();
    const { access_token: token } = await tokensOf(email);
    const moved = `moved.${email}`;
    for (const current_password of [undefined, 'not the one']) {
      const { body } = await update(id, token, { email: moved, current_password }).expect(422);
      assert.equal(body.errors[0].path, 'current_password');
    }
    await update(id, token, { email: email.toUpperCase(), name: 'The Same' }).expect(200);
    await update(id, token, { email: moved, current_password: password }).expect(200);
    await logIn(email).expect(401);
    await logIn(moved).expect(200);
  });

  it('can be probed three times a day, whether another user has it or not', async () => {
    const [{ email: taken }, { id, email }] = [await somebody(), await somebody()];
    const { access_token: token } = await tokensOf(email);
    const statuses: number[] = [];
    for (const probe of [taken, `free.${email}`, taken, `free2.${email}`, taken]) {
      const { status } = await update(id, token, { email: probe, current_password: password });
      statuses.push(status);
    }
    assert.deepEqual(statuses, [409, 200, 409, 429, 429]);
    const { headers } = await update(id, token, { email: taken, current_password: password }).expect(429);
    assert.ok(Number(headers['retry-after']) > 3600);
    await update(id, token, { name: 'Not Affected' }).expect(200);
  });

  it('is probed by a thief of the token without using up the tries of the user', async () => {
    const { id, email } = await somebody();
    const { access_token: token } = await tokensOf(email);
    for (let guess = 0; guess < 4; guess += 1)
      await update(id, token, { email: `x.${email}`, current_password: `guess ${guess}` }).expect(422);
    await update(id, token, { email: `x.${email}`, current_password: password }).expect(200);
  });

  it('is changed by an admin without a limit and without a password', async () => {
    const [admin, { id }] = [await somebody(), await somebody()];
    await database.write((tx) => tx.execute(sql`update users set role = 'admin' where id = ${admin.id}`));
    const { access_token: token } = await tokensOf(admin.email);
    for (let count = 0; count < 6; count += 1)
      await update(id, token, { email: `by-admin${count}.${serial}@example.com` }).expect(200);
  });
});

describe('a new password', () => {
  it('can be set five times in a row with the right one, and then after ten minutes', async () => {
    const { id, email } = await somebody();
    const { access_token: token } = await tokensOf(email);
    const statuses: number[] = [];
    for (let count = 0; count < 7; count += 1) {
      const { status } = await request(service.app)
        .put(`/api/users/${id}`)
        .set(...tokenHeader(token))
        .send({ password, current_password: password });
      statuses.push(status);
    }
    assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429]);
    await logIn(email).expect(200);
  });

  it('is refused for a version that has passed before any password is checked', async () => {
    const { id, email } = await somebody();
    const { access_token: token } = await tokensOf(email);
    await request(service.app)
      .put(`/api/users/${id}`)
      .set(...tokenHeader(token))
      .set('if-match', '"9"')
      .send({ password, current_password: 'not the one' })
      .expect(412);
  });
});

describe('sign-up', () => {
  it('allows 20 users from one address, and then one in 30 seconds', async (context) => {
    const own = await openTestPglite(migrations);
    context.after(() => own.close());
    const separate = createTestApp(own, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
    const statuses: number[] = [];
    for (let count = 0; count < 24; count += 1) {
      const { status } = await request(separate.app)
        .post('/api/users')
        .send({ name: 'New', email: `new${count % 12}@example.com` });
      statuses.push(status);
    }
    assert.deepEqual(statuses, [
      ...Array<number>(12).fill(201),
      ...Array<number>(8).fill(409),
      ...Array<number>(4).fill(429),
    ]);
  });
});

describe('an Idempotency-Key without a token', () => {
  it('belongs to the network of the client', async (context) => {
    const own = await openTestPglite(migrations);
    context.after(() => own.close());
    const { app } = createTestApp(own, { AUTH: 'required', AUTH_SIGN_UP: 'true', TRUSTED_PROXY_HOPS: '1' });
    const signUp = (address: string, name: string) =>
      request(app)
        .post('/api/users')
        .set('idempotency-key', '1')
        .set('x-forwarded-for', address)
        .send({ name, email: `${name}@example.com` });
    const { body } = await signUp('2001:db8:1:1::1', 'one').expect(201);
    await signUp('2001:db8:1:2::1', 'other').expect(201);
    await signUp('198.51.100.7', 'third').expect(201);
    const repeated = await signUp('2001:db8:1:1::2', 'one').expect(201);
    assert.deepEqual([repeated.headers['idempotency-replayed'], repeated.body], ['true', body]);
    await signUp('2001:db8:1:1::2', 'fourth').expect(422);
    await signUp('198.51.100.8', 'one').expect(409);
  });
});

describe('a user who is gone', () => {
  it('has no session any more', async () => {
    const { id, email } = await somebody();
    const { access_token, refresh_token } = await tokensOf(email);
    await request(service.app)
      .delete(`/api/users/${id}`)
      .set(...tokenHeader(access_token))
      .expect(200);
    await refresh(refresh_token).expect(401);
    await logIn(email).expect(401);
  });
});

describe('keys', () => {
  it('are published for anybody to keep for a while, with the metadata that leads to them', async () => {
    const { headers } = await request(service.app).get('/.well-known/jwks.json').expect(200);
    assert.equal(headers['cache-control'], 'public, max-age=300');
    const { body } = await request(service.app).get('/.well-known/openid-configuration').expect(200);
    assert.equal(body.issuer, service.config.AUTH_ISSUER);
    assert.equal(body.jwks_uri, `${service.config.AUTH_ISSUER}/.well-known/jwks.json`);
  });

  it('are those of another issuer where one is set, and then nobody logs in here', async () => {
    const { app } = createTestApp(database, { AUTH: 'required', AUTH_JWKS_URL: 'http://127.0.0.1:9/keys' });
    await request(app).post('/api/auth/login').send({ email: 'a@example.com', password }).expect(404);
    await request(app).get('/.well-known/jwks.json').expect(404);
    const { refresh_token: _token, access_token } = await tokensOf((await somebody()).email);
    const { body, headers } = await request(app)
      .get('/api/users')
      .set(...tokenHeader(access_token))
      .expect(503);
    assert.equal(body.type, '/problems/identity-unavailable');
    assert.equal(headers['retry-after'], '1');
    assert.equal(decodeProtectedHeader(access_token).alg, 'EdDSA');
  });
});
