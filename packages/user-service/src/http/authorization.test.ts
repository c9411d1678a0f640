import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/testing/database';
import type { CallerKind } from '@zerda/contracts/authorization';
import { authorizationCases, type TestRequest } from '@zerda/contracts/testing/authorization';
import { userServiceContract } from '@zerda/contracts/user-service/contract';
import type { Express } from 'express';
import { SignJWT } from 'jose';
import request from 'supertest';
import { createTestApp, migrations } from '../../testing/app.ts';
import type { User } from '../domain/user.ts';
import { setPassword } from '../identity/credentials.ts';
import { hashPassword } from '../identity/password-hash.ts';
import { createSessions } from '../identity/sessions.ts';
import { insertUser } from '../store/user-store.ts';

let closedApp: ReturnType<typeof createTestApp>;
let signUpApp: ReturnType<typeof createTestApp>;
let database: Database;

before(async () => {
  database = await openTestPglite(migrations);
  closedApp = createTestApp(database, { AUTH: 'required' });
  signUpApp = createTestApp(database, { AUTH: 'required', AUTH_SIGN_UP: 'true' });
});
after(() => database.close());

const password = 'a long enough one';

const issue = async (user: Pick<User, 'id' | 'role'>) => (await closedApp.issuer.tokens.prepare())(user);
let serial = 0;
let passwordHash: string | undefined;

async function createUser(role: User['role'] = 'user'): Promise<User> {
  serial += 1;
  const user = { name: `User ${serial}`, email: `user${serial}@example.com`, role };
  passwordHash ??= await hashPassword(password);
  const hash = passwordHash;
  return database.transaction(async (tx) => {
    const stored = await insertUser(tx, user);
    await setPassword(tx, stored.id, hash);
    return stored;
  });
}

/** Returns a token of each kind of caller for a resource of `owner`. */
const tokens: Readonly<Record<CallerKind, (owner: User) => Promise<string> | undefined>> = {
  anonymous: () => undefined,
  'bad-token': async ({ id }) => `${await issue({ id, role: 'admin' })}x`,
  async unregistered() {
    const { kid, privateKey } = await closedApp.issuer.keys.current();
    return new SignJWT({ role: 'user' })
      .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'at+jwt' })
      .setIssuer(closedApp.config.AUTH_ISSUER)
      .setAudience(closedApp.config.AUTH_AUDIENCE)
      .setSubject('machine')
      .setExpirationTime('1m')
      .sign(privateKey);
  },
  'user-other': async () => issue(await createUser()),
  'user-self': (owner) => issue(owner),
  admin: async () => issue(await createUser('admin')),
};

async function send(app: Express, { method, path, body }: TestRequest, token: string | undefined) {
  const test = request(app)[method](path);
  if (token !== undefined) test.set('authorization', `Bearer ${token}`);
  return body === undefined ? test : test.send(body);
}

function newUser(members: object = {}) {
  serial += 1;
  return { name: 'New', email: `new${serial}@example.com`, ...members };
}

async function refreshToken(owner: User): Promise<string> {
  const sessions = createSessions({
    database,
    secrets: closedApp.issuer.secrets,
    seconds: 60,
    logger: { warn: () => undefined },
  });
  return (await database.transaction((tx) => sessions.begin(tx, owner))).refreshToken;
}

/** A valid request for each row of the table, for a resource of `owner`. */
const requests: Readonly<Record<string, (owner: User) => Promise<TestRequest>>> = {
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
  'updateUser with a password but not the current one': async ({ id }) => ({
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

const openSignUp = ' with open sign-up';

describe('authorization in user-service', () => {
  for (const { name, kind, status } of authorizationCases(userServiceContract)) {
    it(`returns ${status} for ${name} by ${kind}`, async () => {
      const { app } = name.includes(openSignUp) ? signUpApp : closedApp;
      const createRequest = requests[name.replace(`${openSignUp} and`, ' with').replace(openSignUp, '')];
      assert.ok(createRequest, `no request for ${name}`);
      const owner = await createUser();
      const response = await send(app, await createRequest(owner), await tokens[kind](owner));
      assert.equal(response.status, status, response.text);
      if (status === 401) assert.match(response.headers['www-authenticate'] ?? '', /^Bearer realm="zerda"/);
      if (status === 403) assert.match(response.headers['www-authenticate'] ?? '', /insufficient_scope/);
    });
  }
});

describe('health of user-service', () => {
  it('includes the number of users only for admins', async () => {
    const owner = await createUser();
    for (const kind of ['anonymous', 'unregistered', 'user-other', 'user-self', 'admin'] as const) {
      const { body } = await send(
        closedApp.app,
        { method: 'get', path: '/api/users/health' },
        await tokens[kind](owner),
      );
      const { users_count, ...rest } = body.data;
      assert.deepEqual(rest, { service: 'user-service', status: 'healthy' }, kind);
      assert.equal(typeof users_count, kind === 'admin' ? 'number' : 'undefined', kind);
    }
  });

  it('returns 5xx when the database does not respond', async () => {
    const closedDatabase = await openTestPglite(migrations);
    const { app } = createTestApp(closedDatabase, { AUTH: 'required' });
    await closedDatabase.close();
    const { status, body } = await send(app, { method: 'get', path: '/api/users/health' }, undefined);
    assert.deepEqual([status >= 500, body.data], [true, undefined]);
  });
});

describe('authorization of a user', () => {
  it('excludes other users from lists for any query', async () => {
    const [owner] = [await createUser(), await createUser('admin')];
    const self = await tokens['user-self'](owner);
    for (const [query, ids] of [
      ['', [owner.id]],
      ['?role=admin', []],
      ['?limit=1', [owner.id]],
    ] as const) {
      const { body } = await send(closedApp.app, { method: 'get', path: `/api/users${query}` }, self);
      assert.deepEqual(
        body.data.map(({ id }: User) => id),
        ids,
      );
      assert.equal(body.page.next, null);
    }
    const none = await send(
      closedApp.app,
      { method: 'get', path: '/api/users' },
      await tokens.unregistered(owner),
    );
    assert.deepEqual(none.body.data, []);
  });

  it('returns the same 403 for existing and missing users', async () => {
    const owner = await createUser();
    const self = await tokens['user-self'](owner);
    for (const method of ['get', 'delete', 'put'] as const) {
      const [existing, missing] = await Promise.all(
        [(await createUser()).id, 2_000_000_000].map(async (id) => {
          const path = `/api/users/${id}`;
          const body = method === 'put' ? { body: { name: 'x' } } : {};
          const { status, body: problem } = await send(closedApp.app, { method, path, ...body }, self);
          return { status, type: problem.type, detail: problem.detail };
        }),
      );
      assert.deepEqual(existing, missing);
      assert.equal(existing?.status, 403);
    }
  });

  it('changes nothing when a rejected request also contains allowed members', async () => {
    const owner = await createUser();
    const body = { name: 'Sneaky', role: 'admin' };
    await send(
      closedApp.app,
      { method: 'put', path: `/api/users/${owner.id}`, body },
      await tokens['user-self'](owner),
    );
    const { body: current } = await send(
      closedApp.app,
      { method: 'get', path: `/api/users/${owner.id}` },
      await tokens['user-self'](owner),
    );
    assert.deepEqual([current.data.name, current.data.role], [owner.name, 'user']);
  });
});
