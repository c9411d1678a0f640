import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/database/testing';
import type { CallerKind } from '@zerda/contracts/authorization';
import { identityOperations } from '@zerda/contracts/identity';
import { authorizationCases, type TestRequest } from '@zerda/contracts/testing-authorization';
import { userOperations } from '@zerda/contracts/users';
import type { Express } from 'express';
import { SignJWT } from 'jose';
import request from 'supertest';
import { setPassword } from '../identity/credentials.ts';
import { hashPassword } from '../identity/password-hash.ts';
import { createSessions } from '../identity/sessions.ts';
import type { StoredUser } from '../store/tables.ts';
import { insertUser } from '../store/user-store.ts';
import { createTestApp, migrations } from '../testing.ts';

let closed: ReturnType<typeof createTestApp>;
let open: ReturnType<typeof createTestApp>;
let database: Database;

before(async () => {
  database = await openTestPglite(migrations);
  closed = createTestApp(database, { AUTH: 'required' });
  open = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
});
after(() => database.close());

const password = 'a long enough one';

const issue = async (user: Pick<StoredUser, 'id' | 'role'>) => (await closed.issuer.tokens.prepare())(user);
let serial = 0;
let passwordHash: string | undefined;

async function made(role: StoredUser['role'] = 'user'): Promise<StoredUser> {
  serial += 1;
  const user = { name: `User ${serial}`, email: `user${serial}@example.com`, role };
  passwordHash ??= await hashPassword(password);
  const hash = passwordHash;
  return database.write(async (tx) => {
    const stored = await insertUser(tx, user);
    await setPassword(tx, stored.id, hash);
    return stored;
  });
}

/** A token of each kind of caller, for what belongs to a user. */
const tokens: Readonly<Record<CallerKind, (owner: StoredUser) => Promise<string> | undefined>> = {
  anonymous: () => undefined,
  'bad-token': async ({ id }) => `${await issue({ id, role: 'admin' })}x`,
  async stranger() {
    const { kid, privateKey } = await closed.issuer.keys.current();
    return new SignJWT({ role: 'user' })
      .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'at+jwt' })
      .setIssuer(closed.config.AUTH_ISSUER)
      .setAudience(closed.config.AUTH_AUDIENCE)
      .setSubject('machine')
      .setExpirationTime('1m')
      .sign(privateKey);
  },
  'user-other': async () => issue(await made()),
  'user-self': (owner) => issue(owner),
  admin: async () => issue(await made('admin')),
};

async function ask(app: Express, { method, path, body }: TestRequest, token: string | undefined) {
  const asked = request(app)[method](path);
  if (token !== undefined) asked.set('authorization', `Bearer ${token}`);
  return body === undefined ? asked : asked.send(body);
}

function newUser(members: object = {}) {
  serial += 1;
  return { name: 'New', email: `new${serial}@example.com`, ...members };
}

async function refreshToken(owner: StoredUser): Promise<string> {
  const sessions = createSessions({
    database,
    secrets: closed.issuer.secrets,
    seconds: 60,
    logger: { warn: () => undefined },
  });
  return (await database.write((tx) => sessions.begin(tx, owner))).refreshToken;
}

/** For each row of the table a request that is right in every way, for what is the owner's. */
const requests: Readonly<Record<string, (owner: StoredUser) => Promise<TestRequest>>> = {
  login: async ({ email }) => ({ method: 'post', path: '/api/auth/login', body: { email, password } }),
  refresh: async (owner) => ({
    method: 'post',
    path: '/api/auth/refresh',
    body: { refresh_token: await refreshToken(owner) },
  }),
  logout: async (owner) => ({
    method: 'post',
    path: '/api/auth/logout',
    body: { refresh_token: await refreshToken(owner) },
  }),
  publicKeys: async () => ({ method: 'get', path: '/.well-known/jwks.json' }),
  issuerMetadata: async () => ({ method: 'get', path: '/.well-known/openid-configuration' }),
  userHealth: async () => ({ method: 'get', path: '/api/users/health' }),
  userStats: async () => ({ method: 'get', path: '/api/users/stats' }),
  listUsers: async () => ({ method: 'get', path: '/api/users' }),
  getUser: async ({ id }) => ({ method: 'get', path: `/api/users/${id}` }),
  createUser: async () => ({ method: 'post', path: '/api/users', body: newUser() }),
  'createUser with the role admin': async () => ({
    method: 'post',
    path: '/api/users',
    body: newUser({ role: 'admin' }),
  }),
  updateUser: async ({ id }) => ({ method: 'put', path: `/api/users/${id}`, body: { name: 'Changed' } }),
  'updateUser with a role': async ({ id }) => ({
    method: 'put',
    path: `/api/users/${id}`,
    body: { role: 'admin' },
  }),
  'updateUser with a password, without the current one': async ({ id }) => ({
    method: 'put',
    path: `/api/users/${id}`,
    body: { password: 'another long one' },
  }),
  'updateUser with a password and the current one': async ({ id }) => ({
    method: 'put',
    path: `/api/users/${id}`,
    body: { password: 'another long one', current_password: password },
  }),
  deleteUser: async ({ id }) => ({ method: 'delete', path: `/api/users/${id}` }),
};

const openSignUp = ' sign-up is open';

describe('user-service answers', () => {
  for (const { name, kind, status } of authorizationCases({ ...userOperations, ...identityOperations })) {
    it(`${name} by ${kind} with ${status}`, async () => {
      const { app } = name.includes(openSignUp) ? open : closed;
      const make = requests[name.replace(`${openSignUp},`, '').replace(openSignUp, '')];
      assert.ok(make, `there is no request for ${name}`);
      const owner = await made();
      const answer = await ask(app, await make(owner), await tokens[kind](owner));
      assert.equal(answer.status, status, answer.text);
      if (status === 401) assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer realm="zerda"/);
      if (status === 403) assert.match(answer.headers['www-authenticate'] ?? '', /insufficient_scope/);
    });
  }
});

describe('health of user-service', () => {
  it('has the number of users for admins only', async () => {
    const owner = await made();
    for (const kind of ['anonymous', 'stranger', 'user-other', 'user-self', 'admin'] as const) {
      const { body } = await ask(
        closed.app,
        { method: 'get', path: '/api/users/health' },
        await tokens[kind](owner),
      );
      const { users_count, ...rest } = body.data;
      assert.deepEqual(rest, { service: 'user-service', status: 'healthy' }, kind);
      assert.equal(typeof users_count, kind === 'admin' ? 'number' : 'undefined', kind);
    }
  });

  it('is no 200 for any caller when the database does not respond', async () => {
    const lost = await openTestPglite(migrations);
    const { app } = createTestApp(lost, { AUTH: 'required' });
    await lost.close();
    const { status, body } = await ask(app, { method: 'get', path: '/api/users/health' }, undefined);
    assert.deepEqual([status >= 500, body.data], [true, undefined]);
  });
});

describe('what a user may not', () => {
  it('is to see others in a list, whatever they ask for', async () => {
    const [owner] = [await made(), await made('admin')];
    const self = await tokens['user-self'](owner);
    for (const [query, ids] of [
      ['', [owner.id]],
      ['?role=admin', []],
      ['?limit=1', [owner.id]],
    ] as const) {
      const { body } = await ask(closed.app, { method: 'get', path: `/api/users${query}` }, self);
      assert.deepEqual(
        body.data.map(({ id }: StoredUser) => id),
        ids,
      );
      assert.equal(body.page.next, null);
    }
    const none = await ask(closed.app, { method: 'get', path: '/api/users' }, await tokens.stranger(owner));
    assert.deepEqual(none.body.data, []);
  });

  it('is to find out who exists: somebody else and nobody get the same answer', async () => {
    const owner = await made();
    const self = await tokens['user-self'](owner);
    for (const method of ['get', 'delete', 'put'] as const) {
      const [there, absent] = await Promise.all(
        [(await made()).id, 2_000_000_000].map(async (id) => {
          const path = `/api/users/${id}`;
          const body = method === 'put' ? { body: { name: 'x' } } : {};
          const { status, body: problem } = await ask(closed.app, { method, path, ...body }, self);
          return { status, type: problem.type, detail: problem.detail };
        }),
      );
      assert.deepEqual(there, absent);
      assert.equal(there?.status, 403);
    }
  });

  it('is done neither: a role that is refused changes nothing beside it', async () => {
    const owner = await made();
    const body = { name: 'Sneaky', role: 'admin' };
    await ask(
      closed.app,
      { method: 'put', path: `/api/users/${owner.id}`, body },
      await tokens['user-self'](owner),
    );
    const { body: now } = await ask(
      closed.app,
      { method: 'get', path: `/api/users/${owner.id}` },
      await tokens['user-self'](owner),
    );
    assert.deepEqual([now.data.name, now.data.role], [owner.name, 'user']);
  });
});
