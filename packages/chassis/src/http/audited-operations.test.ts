import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { auditFields } from '@zerda/contracts/audit';
import { success } from '@zerda/contracts/protocol/envelope';
import { type Access, defineOperation } from '@zerda/contracts/protocol/operation';
import { idText } from '@zerda/contracts/protocol/values';
import express from 'express';
import request from 'supertest';
import { z } from 'zod';
import { createTestIssuer } from '../../testing/issuer.ts';
import { recordingLogger, testAudit, testMetrics } from '../../testing/observed.ts';
import { addAuditDetails } from '../audit/audit-log.ts';
import { Failure } from '../failure.ts';
import { createApiRouter, type Handlers } from './api-router.ts';
import { problemHandler } from './problem-response.ts';
import { createRequestObserver } from './request-observer.ts';

const body = { status: 'success' as const, data: { id: 5 } };
const issuer = await createTestIssuer();

function operationsWith(access: Access) {
  return {
    getOrder: defineOperation({
      id: 'getOrder',
      method: 'get',
      path: '/orders/{id}',
      access,
      summary: 'Get',
      tag: 'Orders',
      response: { status: 200, description: 'It.', schema: success(z.strictObject({ id: z.int() })) },
      problems: [],
    }),
    placeOrder: defineOperation({
      id: 'placeOrder',
      method: 'post',
      path: '/orders',
      access,
      audit: 'order.create',
      summary: 'Place',
      tag: 'Orders',
      body: z.strictObject({ size: z.int() }),
      response: { status: 201, description: 'It.', schema: success(z.strictObject({ id: z.int() })) },
      problems: [],
    }),
    cancelOrder: defineOperation({
      id: 'cancelOrder',
      method: 'delete',
      path: '/orders/{id}',
      access,
      audit: 'order.cancel',
      summary: 'Cancel',
      tag: 'Orders',
      params: z.strictObject({ id: idText }),
      response: { status: 200, description: 'It.', schema: success(z.strictObject({ id: z.int() })) },
      problems: [],
    }),
  } as const;
}

type Operations = ReturnType<typeof operationsWith>;

function application({
  access = 'user',
  ...overrides
}: Partial<Handlers<Operations>> & { readonly access?: Access } = {}) {
  const { logger, lines } = recordingLogger();
  const app = express();
  app.use(createRequestObserver({ logger, metrics: testMetrics(), requestTimeoutMs: 1000 }).middleware);
  const handlers: Handlers<Operations> = {
    getOrder: async () => ({ body }),
    placeOrder: async () => ({ body }),
    cancelOrder: async () => ({ body }),
    ...overrides,
  };
  app.use(
    createApiRouter(operationsWith(access), handlers, {
      authentication: issuer.verifier,
      audit: testAudit(logger),
    }),
  );
  app.use(problemHandler({ logger }));
  /** Returns the audit lines since the last call. */
  const audited = () =>
    lines
      .splice(0)
      .filter(({ stream }) => stream === 'audit')
      .map(({ action, outcome, reason, actor_type, actor, entity_id }) =>
        [action, outcome, reason, actor_type, actor, entity_id].map((value) => value ?? '-').join(' '),
      );
  return { app, lines, audited };
}

const authorization = async (role: 'user' | 'admin' = 'user') =>
  `Bearer ${await issuer.token({ subject: 'alice-id', userId: 1, role })}`;

describe('API router: audit lines', () => {
  it('has one for each successful or replayed write, and none for a read', async () => {
    let replayed = false;
    const { app, audited } = application({ placeOrder: async () => ({ body, replayed }) });
    const headers = { authorization: await authorization() };
    await request(app).get('/orders/7').set(headers).expect(200);
    assert.deepEqual(audited(), []);
    await request(app).post('/orders').set(headers).send({ size: 1 }).expect(201);
    replayed = true;
    await request(app).post('/orders').set(headers).send({ size: 1 }).expect(201);
    await request(app).delete('/orders/7').set(headers).expect(200);
    assert.deepEqual(audited(), [
      'order.create succeeded - user alice-id 5',
      'order.create replayed - user alice-id 5',
      'order.cancel succeeded - user alice-id 7',
    ]);
  });

  it('has one for each denied or failed write, with the problem code as reason', async () => {
    const { app, audited } = application({
      access: 'admin',
      placeOrder: () => Promise.reject(new Failure('rate-limited')),
      cancelOrder: () => Promise.reject(new Error('a secret of the database')),
    });
    const [user, admin] = [await authorization(), await authorization('admin')];
    await request(app).post('/orders').send({ size: 1 }).expect(401);
    await request(app).post('/orders').set({ authorization: 'Bearer x' }).send({ size: 1 }).expect(401);
    await request(app).delete('/orders/7').set({ authorization: user }).expect(403);
    await request(app).post('/orders').set({ authorization: admin }).send({ size: 'x' }).expect(422);
    await request(app)
      .post('/orders')
      .set({ authorization: admin, 'content-type': 'application/json' })
      .send('{')
      .expect(400);
    await request(app).post('/orders').set({ authorization: admin }).send({ size: 1 }).expect(429);
    await request(app).delete('/orders/7').set({ authorization: admin }).expect(500);
    assert.deepEqual(audited(), [
      'order.create denied unauthenticated anonymous - -',
      'order.create denied unauthenticated anonymous - -',
      'order.cancel denied forbidden user alice-id 7',
      'order.create failed validation-failed user alice-id -',
      'order.create failed invalid-request user alice-id -',
      'order.create throttled rate-limited user alice-id -',
      'order.cancel failed internal-error user alice-id 7',
    ]);
  });

  it('contains the details of the handler and the ids of the request, and no text of the path or query', async () => {
    const { app, lines } = application({
      access: 'public',
      async placeOrder() {
        addAuditDetails({ actor: { type: 'user', id: 'carol' }, newStatus: 'shipped', changed: ['status'] });
        return { body };
      },
    });
    await request(app).post('/orders').set({ 'x-correlation-id': 'c-1' }).send({ size: 1 }).expect(201);
    await request(app).delete('/orders/carol@example.com?who=carol@example.com').expect(400);
    const [placed, cancelled, ...more] = lines.filter(({ stream }) => stream === 'audit');
    assert.equal(more.length, 0);
    assert.ok(placed && cancelled);
    assert.deepEqual(
      [placed.correlation_id, placed.actor, placed.new_status, placed.changed, placed.entity_type],
      ['c-1', 'carol', 'shipped', ['status'], 'order'],
    );
    assert.ok(!JSON.stringify(cancelled).includes('carol@'), JSON.stringify(cancelled));
    const common = ['level', 'time', 'service', 'msg', 'correlation_id', 'trace_id', 'span_id'];
    for (const field of Object.keys(placed))
      assert.ok(field in auditFields || common.includes(field), `${field} is documented`);
  });

  it('is written when the change is committed, although the client has disconnected', async () => {
    const { app, audited } = application({
      access: 'public',
      async placeOrder({ request: incoming }) {
        incoming.socket.destroy();
        return { body };
      },
    });
    await assert.rejects(request(app).post('/orders').send({ size: 1 }));
    assert.deepEqual(audited(), ['order.create succeeded - anonymous - 5']);
  });

  it('are required by a router with writes', () => {
    const { getOrder, cancelOrder } = operationsWith('public');
    createApiRouter({ getOrder }, { getOrder: async () => ({ body }) });
    assert.throws(
      () => createApiRouter({ cancelOrder }, { cancelOrder: async () => ({ body }) }),
      /cancelOrder can change state and needs an audit log/,
    );
  });
});
