import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { sql } from 'drizzle-orm';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import request from 'supertest';
import { createTestApp, migrations } from '../../testing/app.ts';

let database: Database;
let service: ReturnType<typeof createTestApp>;

before(async () => {
  database = await openTestPglite(migrations);
  service = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
});
after(() => database.close());

const password = 'correct horse battery';
let serial = 0;

/** Signs a user up. */
async function signUpUser(members: object = {}) {
  serial += 1;
  const user = { name: `Dora ${serial}`, email: `dora${serial}@example.com`, password, ...members };
  // These tests exceed the sign-up limit of one address.
  if (serial % 10 === 0) await resetLimits();
  const { body } = await request(service.app).post('/api/users').send(user).expect(201);
  return { ...user, id: body.data.id as number };
}

async function resetLimits(): Promise<void> {
  await database.transaction((tx) => tx.execute(sql`truncate login_attempts`));
  service = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
}

const post = (path: string, body: object) => request(service.app).post(path).send(body);
const logIn = (email: string, loginPassword = password) =>
  post('/api/auth/login', { email, password: loginPassword });
const refresh = (refresh_token: string) => post('/api/auth/refresh', { refresh_token });
const tokenHeader = (token: string) => ['authorization', `Bearer ${token}`] as const;

async function tokensOf(email: string, loginPassword?: string) {
  const { body } = await logIn(email, loginPassword).expect(200);
  return body.data as { access_token: string; refresh_token: string; expires_in: number };
}

describe('POST /api/auth/login', () => {
  it('returns an access token that verifies against the published keys and contains the user', async () => {
    const { id, email } = await signUpUser();
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

  it('returns the same response for a wrong password, an unknown user and a user without a password', async () => {
    const known = await signUpUser();
    const silent = await signUpUser({ password: undefined });
    const responses = await Promise.all([
      logIn(known.email, 'not the password'),
      logIn('nobody@example.com'),
      logIn(silent.email),
    ]);
    const seen = responses.map(({ status, body, headers }) => {
      const { correlation_id: _id, trace_id: _trace, ...problem } = body;
      return { status, problem, challenge: headers['www-authenticate'] };
    });
    assert.equal(seen[0]?.status, 401);
    assert.equal(seen[0]?.problem.type, '/problems/login-failed');
    assert.deepEqual(seen[1], seen[0]);
    assert.deepEqual(seen[2], seen[0]);
  });

  it('accepts a password in any Unicode normalization form', async () => {
    const composed = 'caf\u00e9 au lait noir';
    const { email } = await signUpUser({ password: composed });
    await logIn(email, 'cafe\u0301 au lait noir').expect(200);
    await logIn(email, 'cafe au lait noir').expect(401);
  });

  it('issues tokens with the current role of the user', async () => {
    const user = await signUpUser();
    await database.transaction((tx) =>
      tx.execute(sql`update users set role = 'admin' where id = ${user.id}`),
    );
    const { access_token, refresh_token } = await tokensOf(user.email);
    assert.equal(decodeJwt(access_token).role, 'admin');
    await database.transaction((tx) => tx.execute(sql`update users set role = 'user' where id = ${user.id}`));
    const { body } = await refresh(refresh_token).expect(200);
    assert.equal(decodeJwt(body.data.access_token).role, 'user');
  });
});

describe('POST /api/auth/refresh', () => {
  it('returns new tokens once per refresh token; reuse ends the session', async () => {
    const { email } = await signUpUser();
    const { refresh_token: first } = await tokensOf(email);
    const { refresh_token: second } = (await refresh(first).expect(200)).body.data;
    const { refresh_token: third } = (await refresh(second).expect(200)).body.data;
    assert.equal(new Set([first, second, third]).size, 3);
    assert.equal((await refresh(first).expect(401)).body.type, '/problems/session-ended');
    await refresh(third).expect(401);
  });

  it('rejects malformed and unknown refresh tokens', async () => {
    const { access_token } = await tokensOf((await signUpUser()).email);
    for (const token of ['x', access_token.slice(0, 512), `${'a'.repeat(43)}.${'b'.repeat(43)}`]) {
      const { body, headers } = await refresh(token).expect(401);
      assert.equal(body.type, '/problems/session-ended');
      assert.match(headers['www-authenticate'] ?? '', /^Bearer/);
    }
    await post('/api/auth/refresh', { refresh_token: '' }).expect(422);
  });

  it('does not consume a refresh token while no signing key is available', async () => {
    const { refresh_token } = await tokensOf((await signUpUser()).email);
    const broken = createTestApp(database, { AUTH_KEY_SECRET: 'a secret that is not the one of the keys' });
    const { body, headers } = await request(broken.app)
      .post('/api/auth/refresh')
      .send({ refresh_token })
      .expect(503);
    assert.equal(body.type, '/problems/identity-unavailable');
    assert.ok(Number(headers['retry-after']) > 0);
    await database.transaction((tx) =>
      tx.execute(sql`update sessions set rotated_at = rotated_at - interval '1 hour'`),
    );
    await refresh(refresh_token).expect(200);
  });

  it('stores refresh tokens only as hashes', async () => {
    const { refresh_token } = await tokensOf((await signUpUser()).email);
    const rows = await database.query((db) =>
      rowsOf<{ row: string }>(db, sql`select row_to_json(s)::text as row from sessions s`),
    );
    const stored = rows.map(({ row }) => row).join();
    for (const part of refresh_token.split('.')) assert.ok(!stored.includes(part));
  });
});

describe('POST /api/auth/logout', () => {
  it('ends only this session and returns the same response for an unknown token', async () => {
    const { email } = await signUpUser();
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
  it('is rejected when it is common, too short or personal data of its owner, without composition rules', async () => {
    for (const [rejected, reason] of [
      ['short', /8 to 128/],
      ['password1', /common password/],
      ['P@ssw0rd!2024', /common password/],
      ['bcdefghijk', /sequence/],
      ['margaret@example.com', /name or e-mail address/],
    ] as const) {
      const user = { name: 'Margaret Hamilton', email: 'margaret@example.com', password: rejected };
      const { body } = await post('/api/users', user).expect(422);
      assert.equal(body.errors[0].path, 'password');
      assert.match(body.errors[0].message, reason);
      assert.ok(!JSON.stringify(body).includes(rejected));
    }
    for (const accepted of [
      'all lower case letters',
      '🦊🐫🌵🌙 🐢🦂🐍🦎',
      'x9'.repeat(10).concat('b'.repeat(100)),
    ])
      await signUpUser({ password: accepted });
  });

  it('changes with the current password and ends the sessions of the user', async () => {
    const { id, email } = await signUpUser();
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

  it('cannot be guessed with a stolen access token', async () => {
    const { id, email } = await signUpUser();
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

  it('is in no response, list, event or stored idempotent request', async () => {
    serial += 1;
    const user = { name: 'Stored', email: `stored${serial}@example.com`, password: 'unmistakable-7261' };
    const { text } = await post('/api/users', user).set('idempotency-key', 'with-password').expect(201);
    const again = await post('/api/users', user).set('idempotency-key', 'with-password').expect(201);
    assert.equal(again.headers['idempotency-replayed'], 'true');
    const rows = await database.query((db) =>
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
    assert.ok(!stored.includes(fingerprint), 'no unsalted hash is stored');
  });

  // draft-ietf-httpapi-idempotency-key-header-07, section 2.7: a key that is used again with a different payload is an error.
  it('is part of an idempotent request: returns 422 for another or no password, also while the secret is replaced', async () => {
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
    const [previousSecret, currentSecret] = [
      service.config.AUTH_KEY_SECRET ?? '',
      'another secret of a test, long enough',
    ];
    const env = { AUTH: 'required', AUTH_SIGN_UP: 'true', AUTH_KEY_SECRET: currentSecret };
    const { app: rotated } = createTestApp(database, { ...env, AUTH_KEY_SECRET_PREVIOUS: previousSecret });
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

  it('requires the current password for a change by the user', async () => {
    const { id, email } = await signUpUser();
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

  it('can be changed three times a day, including attempts that return 409', async () => {
    const [{ email: taken }, { id, email }] = [await signUpUser(), await signUpUser()];
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

  it('is not limited by attempts with a wrong current password', async () => {
    const { id, email } = await signUpUser();
    const { access_token: token } = await tokensOf(email);
    for (let guess = 0; guess < 4; guess += 1)
      await update(id, token, { email: `x.${email}`, current_password: `guess ${guess}` }).expect(422);
    await update(id, token, { email: `x.${email}`, current_password: password }).expect(200);
  });

  it('can be changed by an admin without a limit and without a password', async () => {
    const [admin, { id }] = [await signUpUser(), await signUpUser()];
    await database.transaction((tx) =>
      tx.execute(sql`update users set role = 'admin' where id = ${admin.id}`),
    );
    const { access_token: token } = await tokensOf(admin.email);
    for (let count = 0; count < 6; count += 1)
      await update(id, token, { email: `by-admin${count}.${serial}@example.com` }).expect(200);
  });
});

describe('a new password', () => {
  it('can be set five times at once and then every ten minutes', async () => {
    const { id, email } = await signUpUser();
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

  it('returns 412 for an outdated version before any password is checked', async () => {
    const { id, email } = await signUpUser();
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
  it('allows 20 users from one address at once and then one every 30 seconds', async (context) => {
    const separateDatabase = await openTestPglite(migrations);
    context.after(() => separateDatabase.close());
    const separate = createTestApp(separateDatabase, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
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
    const separateDatabase = await openTestPglite(migrations);
    context.after(() => separateDatabase.close());
    const { app } = createTestApp(separateDatabase, {
      AUTH: 'required',
      AUTH_SIGN_UP: 'true',
      TRUSTED_PROXY_HOPS: '1',
    });
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

describe('a deleted user', () => {
  it('has no sessions', async () => {
    const { id, email } = await signUpUser();
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
  it('are published with cache headers and metadata', async () => {
    const { headers } = await request(service.app).get('/.well-known/jwks.json').expect(200);
    assert.equal(headers['cache-control'], 'public, max-age=300');
    const { body } = await request(service.app).get('/.well-known/openid-configuration').expect(200);
    assert.equal(body.issuer, service.config.AUTH_ISSUER);
    assert.equal(body.jwks_uri, `${service.config.AUTH_ISSUER}/.well-known/jwks.json`);
  });

  it('come from the external issuer if AUTH_JWKS_URL is set, and logins return 404', async () => {
    const { app } = createTestApp(database, { AUTH: 'required', AUTH_JWKS_URL: 'http://127.0.0.1:9/keys' });
    await request(app).post('/api/auth/login').send({ email: 'a@example.com', password }).expect(404);
    await request(app).get('/.well-known/jwks.json').expect(404);
    const { refresh_token: _token, access_token } = await tokensOf((await signUpUser()).email);
    const { body, headers } = await request(app)
      .get('/api/users')
      .set(...tokenHeader(access_token))
      .expect(503);
    assert.equal(body.type, '/problems/identity-unavailable');
    assert.equal(headers['retry-after'], '1');
    assert.equal(decodeProtectedHeader(access_token).alg, 'EdDSA');
  });
});
