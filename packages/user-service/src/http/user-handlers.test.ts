import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { userServiceContract } from '@zerda/contracts/user-service/contract';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';

let app: Express;
let database: Database;

before(async () => {
  ({ app, database } = await openTestApp());
});
after(() => database.close());

let serial = 0;

async function create(user: object = {}) {
  serial += 1;
  const body = { name: `User ${serial}`, email: `user${serial}@example.com`, ...user };
  const { body: response } = await request(app).post('/api/users').send(body).expect(201);
  return response.data;
}

describe('POST /api/users', () => {
  it('returns the stored user with ETag and Location', async () => {
    const user = { name: ' Ada Lovelace ', email: 'Ada@Example.com' };
    const { body, headers } = await request(app).post('/api/users').send(user).expect(201);
    const { id, created_at, updated_at, ...rest } = body.data;
    assert.equal(body.status, 'success');
    assert.deepEqual(rest, { name: 'Ada Lovelace', email: 'ada@example.com', role: 'user' });
    assert.equal(headers.etag, '"1"');
    assert.equal(headers.location, `/api/users/${id}`);
    assert.equal(created_at, updated_at);
  });

  it('lists every invalid member', async () => {
    const wrong = { name: '', email: 'nobody', role: 'root', admin: true };
    const { body } = await request(app).post('/api/users').send(wrong).expect(422);
    assert.equal(body.type, '/problems/validation-failed');
    assert.deepEqual(body.errors.map(({ path }: { path: string }) => path).sort(), [
      'admin',
      'email',
      'name',
      'role',
    ]);
  });

  it('returns 409 and stores nothing when the e-mail address is taken', async () => {
    const { email } = await create();
    const countBefore = (await request(app).get('/api/users/stats')).body.data.users;
    const { body } = await request(app).post('/api/users').send({ name: 'Other', email }).expect(409);
    assert.equal(body.type, '/problems/email-taken');
    assert.equal((await request(app).get('/api/users/stats')).body.data.users, countBefore);
  });

  it('creates one user for one Idempotency-Key, also when the user changes before the repeat', async () => {
    const post = (name: string) =>
      request(app).post('/api/users').set('idempotency-key', 'one').send({ name, email: 'once@example.com' });
    const first = await post('Once').expect(201);
    await request(app)
      .put(first.headers.location ?? '')
      .send({ name: 'Changed' })
      .expect(200);
    const second = await post('Once').expect(201);
    assert.deepEqual(second.body, first.body);
    assert.deepEqual(
      [second.headers['idempotency-replayed'], second.headers.etag, second.headers.location],
      ['true', first.headers.etag, first.headers.location],
    );
    assert.equal((await post('Another').expect(422)).body.type, '/problems/idempotency-key-reused');
  });

  it('does not store a rejected request: the same key works after the conflict is resolved', async () => {
    const { id, email } = await create();
    const post = () =>
      request(app).post('/api/users').set('idempotency-key', 'two').send({ name: 'Heir', email });
    await post().expect(409);
    await request(app).delete(`/api/users/${id}`).expect(200);
    await post().expect(201);
  });
});

describe('GET /api/users', () => {
  it('returns all users page by page', async () => {
    for (let count = 0; count < 5; count += 1) await create();
    const ids: number[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await request(app).get(`/api/users?limit=2${cursor}`).expect(200);
      ids.push(...body.data.map(({ id }: { id: number }) => id));
      if (body.page.next === null) break;
      cursor = `&cursor=${body.page.next}`;
    }
    assert.equal(ids.length, (await request(app).get('/api/users/stats')).body.data.users);
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    );
  });

  it('filters by role and rejects unknown parameters and values', async () => {
    await create({ role: 'admin' });
    const { body } = await request(app).get('/api/users?role=admin').expect(200);
    assert.ok(body.data.length > 0);
    for (const user of body.data) assert.equal(user.role, 'admin');
    for (const query of ['role=root', 'limit=0', 'limit=101', 'cursor=-', 'name=x', 'limit=1&limit=2']) {
      const { body: problem } = await request(app).get(`/api/users?${query}`).expect(400);
      assert.equal(problem.type, '/problems/invalid-request', query);
    }
  });
});

describe('/api/users/{id}', () => {
  it('returns 304 for the current version and 200 after a change', async () => {
    const path = `/api/users/${(await create()).id}`;
    const { headers } = await request(app).get(path).expect(200);
    const again = () =>
      request(app)
        .get(path)
        .set('if-none-match', headers.etag ?? '');
    assert.equal((await again().expect(304)).headers.etag, headers.etag);
    await request(app).put(path).send({ role: 'admin' }).expect(200);
    await again().expect(200);
  });

  it('changes only the members in the request', async () => {
    const user = await create();
    const { body, headers } = await request(app)
      .put(`/api/users/${user.id}`)
      .send({ email: 'New@Example.com' });
    assert.deepEqual(
      [body.data.name, body.data.email, body.data.role, headers.etag],
      [user.name, 'new@example.com', 'user', '"2"'],
    );
    for (const change of [{}, { id: 1 }, { name: null }]) {
      await request(app).put(`/api/users/${user.id}`).send(change).expect(422);
    }
  });

  it('returns 412 with the current ETag when If-Match names an old version', async () => {
    const path = `/api/users/${(await create()).id}`;
    await request(app).put(path).set('if-match', '"1"').send({ name: 'first' }).expect(200);
    const stale = await request(app).put(path).set('if-match', '"1"').send({ name: 'second' }).expect(412);
    assert.deepEqual([stale.body.type, stale.headers.etag], ['/problems/precondition-failed', '"2"']);
    await request(app).delete(path).set('if-match', '"1"').expect(412);
    await request(app).delete(path).set('if-match', '"2"').expect(200);
  });

  // RFC 9110, sections 13.1.1, 13.1.2 and 13.2.1.
  it('returns 412 for failed preconditions and 404 for a missing user', async () => {
    const path = `/api/users/${(await create()).id}`;
    const calls = {
      put: (there: string) => request(app).put(there).send({ name: 'changed' }),
      delete: (there: string) => request(app).delete(there),
      get: (there: string) => request(app).get(there),
    };
    for (const tags of ['*', '"1"', 'W/"1"', '"0", "1"'])
      for (const call of [calls.put, calls.delete]) {
        const { body, headers } = await call(path).set('if-none-match', tags).expect(412);
        assert.deepEqual([body.type, headers.etag], ['/problems/precondition-failed', '"1"'], tags);
      }
    await calls.get(path).set('if-match', '"2"').expect(412);
    await calls.get(path).set('if-match', '"1"').expect(200);
    await calls.put(path).set('if-none-match', '"7"').expect(200);
    await calls.delete(path).set({ 'if-match': '"2"', 'if-none-match': '"1"' }).expect(200);
    for (const call of Object.values(calls))
      for (const header of ['if-match', 'if-none-match']) await call(path).set(header, '*').expect(404);
  });

  it('deletes the user and returns 404 afterwards', async () => {
    const path = `/api/users/${(await create()).id}`;
    const { body } = await request(app).delete(path).expect(200);
    assert.deepEqual(body, { status: 'success', data: { message: 'User deleted' } });
    for (const response of [
      await request(app).get(path),
      await request(app).put(path).send({ name: 'x' }),
      await request(app).delete(path),
    ]) {
      assert.deepEqual([response.status, response.body.type], [404, '/problems/user-not-found']);
    }
  });

  it('rejects malformed ids', async () => {
    for (const id of ['0', '-1', 'abc', '1.5', '2147483648', '%00']) {
      const { body } = await request(app).get(`/api/users/${id}`).expect(400);
      assert.equal(body.type, '/problems/invalid-request', id);
    }
  });
});

describe('user-service', () => {
  it('returns its health at /api/users/health', async () => {
    const { body } = await request(app).get('/api/users/health').expect(200);
    const { users_count, ...rest } = body.data;
    assert.deepEqual(rest, { service: 'user-service', status: 'healthy' });
    assert.ok(Number.isInteger(users_count));
  });

  it('serves its OpenAPI document, security headers and a correlation id', async () => {
    const { body, headers } = await request(app)
      .get('/openapi.json')
      .set('x-correlation-id', 'abc')
      .expect(200);
    assert.deepEqual(body, JSON.parse(JSON.stringify(documentOf(userServiceContract))));
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['x-correlation-id'], 'abc');
    assert.equal(headers['x-powered-by'], undefined);
  });

  it('returns problems for unknown paths and methods', async () => {
    assert.equal((await request(app).get('/api/nothing').expect(404)).body.type, '/problems/not-found');
    const { body, headers } = await request(app).patch('/api/users/1').expect(405);
    assert.deepEqual([body.type, headers.allow], ['/problems/method-not-allowed', 'GET, HEAD, PUT, DELETE']);
  });
});
