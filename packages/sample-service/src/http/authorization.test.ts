import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { createTestIssuer, type TestIssuer } from '@zerda/chassis/testing/issuer';
import type { CallerKind } from '@zerda/contracts/authorization';
import { sampleServiceContract } from '@zerda/contracts/sample-service/contract';
import { authorizationCases, type TestRequest } from '@zerda/contracts/testing/authorization';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';
import { createSampleItemStore } from '../store/sample-item-store.ts';

let app: Express;
let database: Database;
let issuer: TestIssuer;

/** Id of the user who owns the requested resources. */
const owner = 1;

before(async () => {
  issuer = await createTestIssuer();
  ({ app, database } = await openTestApp(issuer.verifier));
});
after(() => database.close());

const tokens: Readonly<Record<CallerKind, () => Promise<string> | undefined>> = {
  anonymous: () => undefined,
  'bad-token': () => issuer.token({ userId: owner, role: 'admin' }, { exp: 1 }),
  unregistered: () => issuer.token({ subject: 'machine' }),
  'user-other': () => issuer.token({ userId: 2 }),
  'user-self': () => issuer.token({ userId: owner }),
  admin: () => issuer.token({ userId: 3, role: 'admin' }),
};

async function send({ method, path, body }: TestRequest, token: string | undefined) {
  const test = request(app)[method](path);
  if (token !== undefined) test.set('authorization', `Bearer ${token}`);
  return body === undefined ? test : test.send(body);
}

/** Stores one row of a user and returns its path. */
async function store(userId = owner): Promise<string> {
  const { id } = await createSampleItemStore(database).create({ user_id: userId, name: 'First' });
  return `/api/sample-items/${id}`;
}

/** A valid request for each row of the table, for a resource of `owner`. */
const requests: Readonly<Record<string, () => Promise<TestRequest>>> = {
  sampleItemHealth: async () => ({ method: 'get', path: '/api/sample-items/health' }),
  listSampleItems: async () => ({ method: 'get', path: '/api/sample-items' }),
  getSampleItem: async () => ({ method: 'get', path: await store() }),
  createSampleItem: async () => ({
    method: 'post',
    path: '/api/sample-items',
    body: { user_id: owner, name: 'First' },
  }),
  updateSampleItem: async () => ({ method: 'put', path: await store(), body: { name: 'Second' } }),
  deleteSampleItem: async () => ({ method: 'delete', path: await store() }),
};

describe('authorization in sample-service', () => {
  for (const { name, kind, status } of authorizationCases(sampleServiceContract)) {
    it(`returns ${status} for ${name} by ${kind}`, async () => {
      const createRequest = requests[name];
      assert.ok(createRequest, `no request for ${name}`);
      const response = await send(await createRequest(), await tokens[kind]());
      assert.equal(response.status, status, response.text);
    });
  }

  it('excludes rows of other users from lists', async () => {
    await Promise.all([store(), store(2)]);
    const list = async (query: string) => {
      const { body } = await send(
        { method: 'get', path: `/api/sample-items?limit=100${query}` },
        await tokens['user-self'](),
      );
      return new Set(body.data.map(({ user_id }: { user_id: number }) => user_id));
    };
    assert.deepEqual(await list(''), new Set([owner]));
    assert.deepEqual(await list('&user_id=2'), new Set());
  });
});
