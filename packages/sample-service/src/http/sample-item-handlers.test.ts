import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { sampleServiceContract } from '@zerda/contracts/sample-service/contract';
import { sql } from 'drizzle-orm';
import type { Express } from 'express';
import request from 'supertest';
import { openTestApp } from '../../testing/app.ts';

let app: Express;
let database: Database;

before(async () => {
  ({ app, database } = await openTestApp());
});
after(() => database.close());

const values = { user_id: 1, name: 'First' };

async function create(): Promise<{ path: string; body: { data: { id: number } } }> {
  const { body } = await request(app).post('/api/sample-items').send(values).expect(201);
  return { path: `/api/sample-items/${body.data.id}`, body };
}

/** Returns the events of one row in the outbox, as type and sequence. */
async function eventsOf(id: number): Promise<string[]> {
  const rows = await database.query((db) =>
    rowsOf<{ type: string; sequence: string }>(
      db,
      sql`select type, event ->> 'sequence' as sequence from outbox where subject = ${`sample-items/${id}`} order by position`,
    ),
  );
  return rows.map(({ type, sequence }) => `${type} ${Number(sequence)}`);
}

describe('POST /api/sample-items', () => {
  it('returns the stored row with ETag and Location', async () => {
    const { body, headers } = await request(app).post('/api/sample-items').send(values).expect(201);
    const { id, created_at, updated_at, ...rest } = body.data;
    assert.deepEqual(rest, values);
    assert.equal(created_at, updated_at);
    assert.deepEqual([headers.etag, headers.location], ['"1"', `/api/sample-items/${id}`]);
    assert.deepEqual((await request(app).get(`/api/sample-items/${id}`)).body, body);
  });

  it('lists every invalid member', async () => {
    const { body } = await request(app)
      .post('/api/sample-items')
      .send({ user_id: 0, name: ' ', unknown: 1 })
      .expect(422);
    assert.deepEqual(body.errors.map(({ path }: { path: string }) => path).sort(), [
      'name',
      'unknown',
      'user_id',
    ]);
  });

  it('stores one row for concurrent requests with one Idempotency-Key', async () => {
    const responses = await Promise.all(
      Array.from({ length: 8 }, () =>
        request(app).post('/api/sample-items').set('idempotency-key', 'one').send(values),
      ),
    );
    assert.equal(new Set(responses.map(({ status, body }) => `${status} ${body.data?.id}`)).size, 1);
    assert.equal(responses.filter(({ headers }) => headers['idempotency-replayed'] !== 'true').length, 1);
  });
});

describe('/api/sample-items/{id}', () => {
  it('changes and deletes a row with one event for each change', async () => {
    const { path, body } = await create();
    const changed = await request(app).put(path).send({ name: 'Second' }).expect(200);
    assert.deepEqual([changed.body.data.name, changed.headers.etag], ['Second', '"2"']);
    await request(app).delete(path).expect(200);
    await request(app).get(path).expect(404);
    assert.deepEqual(await eventsOf(body.data.id), [
      'zerda.sample_item.created.v1 1',
      'zerda.sample_item.updated.v1 2',
      'zerda.sample_item.deleted.v1 3',
    ]);
  });

  it('supports conditional requests (RFC 9110, section 13.1)', async () => {
    const { path } = await create();
    await request(app).get(path).set('if-none-match', '"1"').expect(304);
    const put = () => request(app).put(path).set('if-match', '"1"').send({ name: 'Second' });
    await put().expect(200);
    assert.equal((await put().expect(412)).headers.etag, '"2"');
    await request(app).delete(path).set('if-match', '"1"').expect(412);
  });

  it('returns 404 for unknown ids', async () => {
    const path = '/api/sample-items/2147483647';
    await request(app).get(path).expect(404);
    await request(app).put(path).send({ name: 'Second' }).expect(404);
    await request(app).delete(path).expect(404);
  });

  it('counts each of several concurrent changes', async () => {
    const { path } = await create();
    const names = Array.from({ length: 8 }, (_, index) => `Name ${index}`);
    await Promise.all(names.map((name) => request(app).put(path).send({ name }).expect(200)));
    assert.equal((await request(app).get(path).expect(200)).headers.etag, '"9"');
  });
});

describe('sample-service', () => {
  it('returns all rows page by page', async () => {
    for (let index = 0; index < 5; index += 1) await create();
    const ids: number[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await request(app).get(`/api/sample-items?limit=2${cursor}`).expect(200);
      ids.push(...body.data.map(({ id }: { id: number }) => id));
      if (body.page.next === null) break;
      cursor = `&cursor=${body.page.next}`;
    }
    const [stored] = await database.query((db) =>
      rowsOf<{ count: string }>(db, sql`select count(*) from sample_items`),
    );
    assert.equal(ids.length, Number(stored?.count));
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    );
  });

  it('returns its health only while the database responds', async () => {
    const { body } = await request(app).get('/api/sample-items/health').expect(200);
    assert.deepEqual(body.data, { service: 'sample-service', status: 'healthy' });
    const closed = await openTestApp();
    await closed.database.close();
    assert.ok((await request(closed.app).get('/api/sample-items/health')).status >= 500);
  });

  it('serves its OpenAPI document', async () => {
    const { body } = await request(app).get('/openapi.json').expect(200);
    assert.deepEqual(body, JSON.parse(JSON.stringify(documentOf(sampleServiceContract))));
  });
});
