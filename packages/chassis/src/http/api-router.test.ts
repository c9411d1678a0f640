import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request as sendRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { problemDetails } from '@zerda/contracts/problems';
import { success } from '@zerda/contracts/protocol/envelope';
import { defineOperation } from '@zerda/contracts/protocol/operation';
import { idText } from '@zerda/contracts/protocol/values';
import express from 'express';
import request from 'supertest';
import { z } from 'zod';
import { recordingLogger, testAudit, testMetrics } from '../../testing/observed.ts';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';
import { createApiRouter, type Handlers } from './api-router.ts';
import { notFound, problemHandler } from './problem-response.ts';
import { createRequestObserver } from './request-observer.ts';

const thing = success(z.strictObject({ id: z.int() }));
const byId = z.strictObject({ id: idText });

const operations = {
  getThing: defineOperation({
    id: 'getThing',
    method: 'get',
    path: '/things/{id}',
    access: 'public',
    summary: 'Get a thing',
    tag: 'Things',
    params: byId,
    query: z.strictObject({ full: z.enum(['yes', 'no']).optional() }),
    accepts: { preconditions: true },
    response: { status: 200, description: 'It.', schema: thing, etag: true },
    problems: [],
  }),
  putThing: defineOperation({
    id: 'putThing',
    method: 'put',
    path: '/things/{id}',
    access: 'public',
    audit: 'order.change-status',
    summary: 'Put a thing',
    tag: 'Things',
    params: byId,
    body: z.strictObject({ size: z.int().min(1), tags: z.array(z.string()).optional() }),
    accepts: { preconditions: true },
    response: { status: 200, description: 'It.', schema: thing, etag: true },
    problems: [],
  }),
  makeThing: defineOperation({
    id: 'makeThing',
    method: 'post',
    path: '/things',
    access: 'public',
    audit: 'order.create',
    summary: 'Make a thing',
    tag: 'Things',
    body: z.strictObject({ size: z.int().min(1) }),
    accepts: { idempotencyKey: true },
    response: { status: 201, description: 'It.', schema: thing, etag: true, location: true },
    problems: [],
  }),
  thingHealth: defineOperation({
    id: 'thingHealth',
    method: 'get',
    path: '/things/health',
    access: 'public',
    summary: 'Health',
    tag: 'Things',
    response: { status: 200, description: 'Fine.', schema: thing },
    problems: [],
  }),
} as const;

function application(overrides: Partial<Handlers<typeof operations>> = {}) {
  const { logger, lines } = recordingLogger();
  const body = { status: 'success' as const, data: { id: 1 } };
  const handlers: Handlers<typeof operations> = {
    getThing: async ({ params }) => ({ body: { status: 'success', data: { id: params.id } }, version: 3 }),
    putThing: async () => ({ body, version: 4 }),
    makeThing: async () => ({ body, version: 1, location: '/things/1' }),
    thingHealth: async () => ({ body }),
    ...overrides,
  };
  const app = express();
  app.use(createRequestObserver({ logger, metrics: testMetrics(), requestTimeoutMs: 1000 }).middleware);
  app.use(
    createApiRouter(operations, handlers, { clientAddress: () => '192.0.2.1', audit: testAudit(logger) }),
  );
  app.use(notFound);
  app.use(problemHandler({ logger }));
  return { app, lines };
}

async function expectProblem(pending: request.Test, status: number, code: string) {
  const { body } = await pending
    .expect(status)
    .expect('content-type', 'application/problem+json; charset=utf-8');
  const problem = problemDetails.parse(body);
  assert.equal(problem.type, `/problems/${code}`);
  assert.equal(problem.status, status);
  assert.match(problem.correlation_id, /./);
  return problem;
}

describe('API router: requests', () => {
  const { app } = application();

  it('returns 400 for an invalid path or query, naming each member', async () => {
    await expectProblem(request(app).get('/things/abc'), 400, 'invalid-request');
    await expectProblem(request(app).get('/things/%zz'), 400, 'invalid-request');
    const { errors } = await expectProblem(
      request(app).get('/things/1?full=maybe&x=1'),
      400,
      'invalid-request',
    );
    assert.deepEqual(errors?.map(({ path }) => path).sort(), ['full', 'x']);
  });

  it('returns 422 for an invalid body, naming unknown and nested members', async () => {
    const invalid = { size: 0, tags: ['a', 1], color: 'red' };
    const { errors } = await expectProblem(
      request(app).put('/things/1').send(invalid),
      422,
      'validation-failed',
    );
    assert.deepEqual(errors?.map(({ path }) => path).sort(), ['color', 'size', 'tags.1']);
  });

  it('returns 400 for invalid JSON and for a missing body', async () => {
    const json = request(app).put('/things/1').set('Content-Type', 'application/json');
    await expectProblem(json.send('{"size":'), 400, 'invalid-request');
    await expectProblem(request(app).put('/things/1'), 400, 'invalid-request');
  });

  it('extends the deadline by the time that the client takes to send the body', async (context) => {
    const remaining: number[] = [];
    const { app: timed } = application({
      makeThing: async () => {
        remaining.push(currentContext()?.deadline.remainingMs() ?? Number.NaN);
        return { body: { status: 'success', data: { id: 1 } }, version: 1, location: '/things/1' };
      },
    });
    const server = timed.listen(0, '127.0.0.1');
    context.after(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const outgoing = sendRequest({ port, method: 'POST', path: '/things', agent: false });
    outgoing.setHeader('content-type', 'application/json').setHeader('x-request-timeout-ms', '400');
    outgoing.write('{"size":');
    await wait(500);
    outgoing.end('1}');
    const [{ statusCode }] = (await once(outgoing, 'response')) as [IncomingMessage];
    assert.equal(statusCode, 201);
    assert.ok((remaining[0] ?? 0) > 200, `${remaining[0]} ms remain`);
  });

  it('returns 422 for JSON that is not an object', async () => {
    const json = request(app).put('/things/1').set('Content-Type', 'application/json');
    await expectProblem(json.send('null'), 422, 'validation-failed');
  });

  it('returns 413 above 100 KiB and accepts a body of 100 KiB', async () => {
    const sized = (bytes: number) => ({
      size: 1,
      tags: ['x'.repeat(bytes - '{"size":1,"tags":[""]}'.length)],
    });
    await request(app).put('/things/1').send(sized(102_400)).expect(200);
    await expectProblem(request(app).put('/things/1').send(sized(102_401)), 413, 'payload-too-large');
  });

  it('accepts gzip bodies under both names of the coding (RFC 9110, section 8.4.1.3)', async () => {
    for (const coding of ['gzip', 'x-gzip', 'X-GZIP']) {
      const sent = request(app).put('/things/1').set('content-encoding', coding).type('application/json');
      const { status } = await sent
        .serialize((body) => body)
        .send(gzipSync('{"size":1}') as unknown as string);
      assert.equal(status, 200, coding);
    }
  });

  it('returns 415 for another content type, charset or content coding', async () => {
    const put = () => request(app).put('/things/1');
    await expectProblem(put().type('text/plain').send('{"size":1}'), 415, 'unsupported-media-type');
    await expectProblem(
      put().type('application/json; charset=x').send('{"size":1}'),
      415,
      'unsupported-media-type',
    );
    await expectProblem(
      put().type('application/json').set('Content-Encoding', 'zip').send('{"size":1}'),
      415,
      'unsupported-media-type',
    );
  });

  // RFC 8259, section 8.1: JSON is UTF-8. US-ASCII is a subset, and Python sends `utf8`.
  it('accepts UTF-8 bodies under each name of the charset', async () => {
    for (const charset of ['utf-8', 'utf8', 'UTF8', '"utf-8"', 'us-ascii', 'US-ASCII'])
      await request(app)
        .put('/things/1')
        .type(`application/json; charset=${charset}`)
        .send('{"size":1}')
        .expect(200);
    await request(app).put('/things/1').type('application/json').send('\ufeff{"size":1}').expect(200);
    for (const charset of ['utf-16', 'utf-16le', 'utf-32', 'utf-7', 'iso-8859-1', 'latin1', '""', 'utf-8x'])
      await expectProblem(
        request(app).put('/things/1').type(`application/json; charset=${charset}`).send('{"size":1}'),
        415,
        'unsupported-media-type',
      );
  });

  // RFC 3629, sections 3 and 10: a decoder must not convert invalid sequences to other characters.
  it('returns 400 for bytes that are invalid in the charset, so that they are not stored as U+FFFD', async () => {
    const body = (bytes: string) =>
      Buffer.concat([Buffer.from('{"size":1,"tags":["'), Buffer.from(bytes, 'hex'), Buffer.from('"]}')]);
    const put = (bytes: string, type = 'application/json') =>
      request(app)
        .put('/things/1')
        .type(type)
        .serialize((raw) => raw)
        .send(body(bytes) as unknown as object);
    // A lone continuation byte, a truncated sequence, Latin-1, overlong, a lone surrogate, above U+10FFFF, invalid bytes.
    for (const bytes of ['80', 'e282', 'e9', 'c0af', 'eda080', 'f4908080', 'ff', 'fe', 'f8888080'])
      await expectProblem(put(bytes), 400, 'invalid-request');
    await expectProblem(put('c3a9', 'application/json; charset=us-ascii'), 400, 'invalid-request');
    for (const bytes of ['c3a9', 'f09fa68a', 'efbfbd', 'f48fbfbf']) await put(bytes).expect(200);
  });

  it('returns 400 for a number that a double cannot represent', async () => {
    const put = (size: string) =>
      request(app).put('/things/1').type('application/json').send(`{"size":${size}}`);
    for (const size of ['1.0000000000000000001', '1e400']) {
      const { detail } = await expectProblem(put(size), 400, 'invalid-request');
      assert.match(detail ?? '', /number/);
    }
    for (const size of ['1.000000000000000000', '10e-1']) await put(size).expect(200);
  });

  it('returns 405 with Allow for a known path and 404 for an unknown one', async () => {
    const { headers } = await request(app).delete('/things/1').expect(405);
    assert.equal(headers.allow, 'GET, HEAD, PUT');
    await expectProblem(request(app).delete('/things/health'), 405, 'method-not-allowed');
    await expectProblem(request(app).get('/Things/1'), 404, 'not-found');
    await expectProblem(request(app).get('/things/1/'), 404, 'not-found');
  });

  it('prefers a literal path to a placeholder', async () => {
    await request(app)
      .get('/things/health')
      .expect(200, { status: 'success', data: { id: 1 } });
  });

  it('returns 504 if the caller allows no time', async () => {
    await expectProblem(
      request(app).get('/things/1').set('X-Request-Timeout-Ms', '0'),
      504,
      'deadline-exceeded',
    );
  });
});

describe('API router: responses', () => {
  it('sends status, ETag and Location of the operation', async () => {
    const { app } = application();
    await request(app)
      .post('/things')
      .send({ size: 1 })
      .expect(201)
      .expect('etag', '"1"')
      .expect('location', '/things/1')
      .expect('content-type', 'application/json; charset=utf-8');
  });

  it('returns 304 if the caller has the version', async () => {
    const { app } = application();
    await request(app).get('/things/1').set('If-None-Match', '"3"').expect(304).expect('etag', '"3"');
    await request(app).get('/things/1').set('If-None-Match', '"2"').expect(200);
  });

  // RFC 9110, section 13.1.1.
  it('returns 412 with the current version for GET and HEAD if If-Match does not match', async () => {
    const { app } = application();
    const { body } = await request(app)
      .get('/things/1')
      .set('If-Match', '"2"')
      .expect(412)
      .expect('etag', '"3"');
    assert.equal(body.type, '/problems/precondition-failed');
    await request(app).head('/things/1').set('If-Match', 'W/"3"').expect(412);
    for (const tags of ['"3"', '*', '"1", "3"'])
      await request(app).get('/things/1').set('If-Match', tags).expect(200);
    await request(app).get('/things/1').set({ 'If-Match': '"3"', 'If-None-Match': '"3"' }).expect(304);
  });

  it('responds to HEAD with the head of GET', async () => {
    const { app } = application();
    const { headers, text } = await request(app).head('/things/1').expect(200);
    assert.equal(headers['content-length'], String('{"status":"success","data":{"id":1}}'.length));
    assert.equal(text, undefined);
  });

  it('ignores the idempotency key of an anonymous caller without a client address', async () => {
    let seen: unknown = 'nothing yet';
    const makeThing: Handlers<typeof operations>['makeThing'] = async ({ keyed }) => {
      seen = keyed;
      return { body: { status: 'success', data: { id: 1 } } };
    };
    const app = express();
    app.use(createApiRouter({ makeThing: operations.makeThing }, { makeThing }, { audit: testAudit() }));
    await request(app).post('/things').set('Idempotency-Key', 'k-1').send({ size: 2 }).expect(201);
    assert.equal(seen, undefined);
  });

  it('passes If-Match and the idempotency key to the handler', async () => {
    let seen: unknown;
    const { app } = application({
      putThing: async ({ precondition }) => {
        assert.deepEqual([precondition?.(1), precondition?.(2)], [false, true]);
        return { body: { status: 'success', data: { id: 1 } } };
      },
      makeThing: async ({ keyed }) => {
        seen = keyed;
        return { body: { status: 'success', data: { id: 1 } }, replayed: true };
      },
    });
    await request(app).put('/things/1').set('If-Match', '"2"').send({ size: 1 }).expect(200);
    await request(app)
      .post('/things')
      .set('Idempotency-Key', 'k-1')
      .send({ size: 2 })
      .expect(201)
      .expect('idempotency-replayed', 'true');
    assert.deepEqual(seen, {
      key: 'k-1',
      caller: 'address 192.0.2.1',
      method: 'POST',
      path: '/things',
      body: { size: 2 },
    });
  });

  it('rejects an idempotency key that is too long or not visible ASCII', async () => {
    const { app } = application();
    for (const key of ['a b', 'k'.repeat(256), 'é']) {
      const pending = request(app).post('/things').set('Idempotency-Key', key).send({ size: 1 });
      await expectProblem(pending, 400, 'invalid-request');
    }
  });

  it('maps a failure to status and headers, including X-Problem', async () => {
    const { app } = application({
      thingHealth: () =>
        Promise.reject(new Failure('database-unavailable', { detail: 'No.', retryAfterSeconds: 1 })),
    });
    const pending = request(app)
      .get('/things/health')
      .expect('retry-after', '1')
      .expect('x-problem', 'database-unavailable');
    const problem = await expectProblem(pending, 503, 'database-unavailable');
    assert.equal(problem.detail, 'No.');
    assert.equal(problem.instance, '/things/health');
  });

  it('returns only the correlation id of an internal error, and logs its stack', async () => {
    const { app, lines } = application({
      thingHealth: () => Promise.reject(new Error('secret of the database')),
    });
    const { correlation_id, detail } = await expectProblem(
      request(app).get('/things/health'),
      500,
      'internal-error',
    );
    assert.equal(detail, undefined);
    const line = lines.find(({ msg }) => msg === 'fault');
    assert.equal(line?.correlation_id, correlation_id);
    assert.match(JSON.stringify(line?.err), /secret of the database/);
  });
});
